from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

#: Far more than anything here takes.
LONG = {"call": 30, "request": 60, "lease": 30}


class Asking:
    """Requests on threads of their own, and what came of them."""

    def __init__(self, running: Any, id: str, targets: list[str]) -> None:
        self.answers: dict[str, Any] = {}

        def ask(target: str) -> None:
            self.answers[target] = running.ask(target, id)

        self._threads = [threading.Thread(target=ask, args=(target,)) for target in targets]
        for thread in self._threads:
            thread.start()

    def statuses(self) -> set[int]:
        for thread in self._threads:
            thread.join()
        return {answer.status for answer in self.answers.values()}


@pytest.fixture
def stored(
    serving: Any, tools: Any, own_valkey: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Any, Any]]:
    """Starts the quickstart with a Valkey, and a server that has one thread to wait in."""

    def start(**options: Any) -> tuple[Any, Any]:
        monkeypatch.setattr("anywasm.server.server.WAITING_THREADS", 1)
        server = own_valkey()
        for number in range(8):
            server.set(f"book{number}", str(number))
        timeout = options.pop("store", "30s")
        store = {"type": "redis", "url": server.url, "timeout": timeout}
        drain = options.pop("drain_timeout", 10)
        plugins = tools.quickstart("wasmtime", **{"timeouts": LONG, **options})
        running = serving(plugins, state_stores={"state_demo": store}, drain_timeout=drain)
        return running, server

    return start


def test_no_thread_waits_for_a_store(stored: Any, tools: Any) -> None:
    running, server = stored(instance_num=9)
    assert running.ask("/?name=book1", "id_1").status == 200
    server.pause()
    asking = Asking(running, "id_1", [f"/?name=book{number}" for number in range(8)])
    listener = running.server.listeners["main"]
    tools.eventually(lambda: listener.exchanges_active == 8)
    # All of them wait, and others are served meanwhile.
    assert running.ask("/", "id_2").status == 400
    assert not asking.answers
    server.resume()
    assert asking.statuses() == {200}
    for target, answer in asking.answers.items():
        number = target[-1]
        assert answer.body == f"There are {number} inventories for book{number}.".encode()


def test_one_instance_serves_one_after_the_other(stored: Any) -> None:
    running, _ = stored(instance_num=1)
    asking = Asking(running, "id_1", [f"/?name=book{number}" for number in range(8)])
    assert asking.statuses() == {200}


def test_a_store_that_hangs_costs_the_request_and_nothing_else(stored: Any) -> None:
    running, server = stored(store="0.2s")
    assert running.ask("/?name=book1", "id_1").status == 200
    server.pause()
    assert running.ask("/?book1", "id_2").status == 502
    server.resume()
    assert running.ask("/?name=book1", "id_1").status == 200


def test_the_time_of_a_call_ends_while_it_is_suspended(stored: Any) -> None:
    running, server = stored(timeouts={**LONG, "call": 0.3})
    assert running.ask("/?name=book1", "id_1").status == 200
    server.pause()
    answer = running.ask("/?book1", "id_2")
    assert (answer.status, answer.json["phase"]) == (504, "on_request_body")
    server.resume()
    assert running.ask("/?name=book1", "id_1").status == 200


def test_who_waits_too_long_for_an_instance_is_refused(stored: Any, tools: Any) -> None:
    running, server = stored(timeouts={**LONG, "lease": 0.2})
    assert running.ask("/?name=book1", "id_1").status == 200
    server.pause()
    first = Asking(running, "id_2", ["/?book1"])
    tools.eventually(lambda: running.server.listeners["main"].exchanges_active == 1)
    answers = [running.ask("/?book2", "id_2") for _ in range(2)]
    server.resume()
    assert first.statuses() == {200}
    assert [(answer.status, answer.json["phase"]) for answer in answers] == [(503, "lease")] * 2
    assert running.ask("/?name=book1", "id_1").status == 200


def test_a_client_that_goes_away_leaves_the_instance_to_others(stored: Any, tools: Any) -> None:
    running, server = stored(instance_num=1)
    server.pause()
    listener = running.server.listeners["main"]
    connection = tools.connect(running.place())
    connection.sendall(b"GET /?book1 HTTP/1.1\r\nhost: a\r\nid: id_2\r\n\r\n")
    tools.eventually(lambda: listener.exchanges_active == 1)
    connection.close()
    server.resume()
    assert running.ask("/?name=book2", "id_1").status == 200


def test_a_new_version_serves_while_the_old_one_waits(stored: Any, tools: Any) -> None:
    running, server = stored(instance_num=1)
    server.pause()
    first = Asking(running, "id_2", ["/?book1"])
    listener = running.server.listeners["main"]
    tools.eventually(lambda: listener.exchanges_active == 1)
    second = Asking(running, "id_2", ["/?book2"])
    tools.eventually(lambda: listener.exchanges_active == 2)
    wrapper = running.server.manager.get("function_2")
    before = wrapper.plugin
    wrapper.update(before.config.model_copy(update={"plugin_config": b"store=state_demo"}))
    assert wrapper.plugin is not before
    server.resume()
    assert first.statuses() == second.statuses() == {200}
    assert [answer.body for answer in first.answers.values()] == [b"1"]


def test_a_server_stops_while_guests_are_suspended(stored: Any, tools: Any) -> None:
    running, server = stored(drain_timeout=0.1)
    assert running.ask("/?name=book1", "id_1").status == 200
    server.pause()
    connection = tools.connect(running.place())
    connection.sendall(b"GET /?name=book1 HTTP/1.1\r\nhost: a\r\nid: id_1\r\n\r\n")
    tools.eventually(lambda: running.server.listeners["main"].exchanges_active == 1)
    running.stop()
    assert connection.recv(1000) == b""
    connection.close()
    gc.collect()  # whatever is left of the guests goes, in any order
    server.resume()
