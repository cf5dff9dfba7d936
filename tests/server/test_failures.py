"""What clients are told when a function fails."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from anywasm.abi.pairs import encode_pairs
from anywasm.core.registry import get_wasm_engine

PAUSE = "(i32.const 1)"
LOOP = "(loop $again (br $again)) (i32.const 0)"


def test_no_id(serving: Any) -> None:
    answer = serving().ask("/?name=book1")
    assert answer.status == 400
    assert "id header" in answer.json["error"]
    assert answer.json["phase"] == "route"


def test_unknown_id(serving: Any) -> None:
    answer = serving().ask("/?name=book1", "nobody")
    assert answer.status == 404
    assert answer.json == {"error": "no function has the id 'nobody'", "phase": "route"}


@pytest.mark.parametrize(
    ("action", "error"),
    [
        ("unreachable", "unreachable"),
        ("(i32.const 0)", "gave no answer"),
        ("(i32.load (i32.const -1))", ""),
    ],
    ids=["trap", "silence", "bounds"],
)
def test_guest_that_fails(serving: Any, guest: Any, engine: str, action: str, error: str) -> None:
    running = serving([guest.plugin("bad", action, engine)])
    for _ in range(3):  # a broken instance is replaced
        answer = running.ask(id="bad")
        assert answer.status == 500, answer
        assert answer.json["plugin"] == "bad"
        assert answer.json["phase"] == "on_request_headers"
        assert error in answer.json["error"]


def test_guest_that_fails_in_a_waiting_thread(serving: Any, guest: Any, engine: str) -> None:
    running = serving([guest.plugin("bad", "unreachable", engine, execution="thread")])
    answer = running.ask(id="bad")
    assert answer.status == 500
    assert answer.json["plugin"] == "bad"
    assert answer.json["phase"] == "on_request_headers"


def test_no_answer_is_lost_while_an_instance_is_replaced(serving: Any, guest: Any) -> None:
    # Body `x` traps; everything else is echoed by whatever instance is there then.
    body = (
        "(drop (call $get (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))"
        "(if (i32.eq (i32.load8_u (i32.load (i32.const 16))) (i32.const 120)) (then unreachable))"
        + guest.echoes
    )
    running = serving([guest.plugin("odd", "(i32.const 0)", body=body, timeouts={"lease": 10})])
    for _ in range(10):
        assert running.ask(id="odd", body=b"x").status == 500
        assert running.ask(id="odd", body=b"y").body == b"y"


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_header_that_cannot_be_sent(serving: Any, guest: Any, execution: str) -> None:
    action = guest.responds(200, encode_pairs([(b"x-a", b"bell \a")]), "fine")
    running = serving([guest.plugin("sly", action, execution=execution)])
    answer = running.ask(id="sly")
    assert answer.status == 500
    assert answer.json["phase"] == "send"
    assert answer.json["plugin"] == "sly"
    assert "x-a" in answer.json["error"]


@pytest.mark.parametrize(
    "pair",
    [(b"x-a", b"1\r\nset-cookie: b"), (b"x-a: 1\r\nset-cookie", b"b")],
    ids=["value", "name"],
)
def test_header_injection(serving: Any, guest: Any, pair: tuple[bytes, bytes]) -> None:
    # The guest is told, but goes on as if it had answered.
    action = guest.responds(200, encode_pairs([pair]), "fine")
    running = serving([guest.plugin("sly", action, timeouts={"request": 0.2})])
    answer = running.ask(id="sly")
    assert answer.status == 504
    assert answer.values("set-cookie") == []


def test_no_instance_becomes_free(serving: Any, tools: Any, gate: Any, engine: str) -> None:
    plugins = tools.quickstart(engine, timeouts={"lease": 0.1})
    running = serving(plugins, state_stores=tools.GATED)
    first = threading.Thread(target=running.ask, args=("/?a", "id_2"))
    first.start()
    gate.entered()
    answer = running.ask("/?b", "id_2")
    assert answer.status == 503
    assert answer.json["plugin"] == "function_2"
    assert answer.json["phase"] == "lease"
    gate.opened.set()
    first.join()
    assert running.ask("/?b", "id_2").body == b"b"


def test_no_thread_becomes_free(
    serving: Any, tools: Any, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("anywasm.server.server.WAITING_THREADS", 1)
    plugins = tools.quickstart(
        "wasmtime", instance_num=4, timeouts={"lease": 0.1}, execution="thread"
    )
    running = serving(plugins, state_stores=tools.GATED)
    answers: list[Any] = []

    def ask(key: str) -> None:
        answers.append(running.ask(f"/?{key}", "id_2"))

    threads = [threading.Thread(target=ask, args=(key,)) for key in "ab"]
    threads[0].start()
    gate.entered()
    threads[1].start()
    tools.eventually(lambda: running.server.listeners["main"].exchanges_active == 2)
    # Longer than the second may wait; what opens the gate is what frees the thread.
    threads[1].join(0.3)
    gate.opened.set()
    for thread in threads:
        thread.join()
    answers.sort(key=lambda answer: answer.status)  # both come when the gate opens, in any order
    assert [answer.status for answer in answers] == [200, 503]
    assert answers[1].json["phase"] == "lease"
    assert answers[1].json["plugin"] == "function_2"
    assert gate.asked == 1


def test_pause_that_nobody_ends(serving: Any, guest: Any, engine: str) -> None:
    running = serving([guest.plugin("idle", PAUSE, engine, timeouts={"request": 0.2})])
    answer = running.ask(id="idle")
    assert answer.status == 504
    assert answer.json["plugin"] == "idle"
    assert answer.json["phase"] == "on_request_headers"
    assert "paused" in answer.json["error"]


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_guest_that_does_not_end(serving: Any, guest: Any, engine: str, execution: str) -> None:
    if not get_wasm_engine(engine).capabilities.interrupt:
        pytest.skip(f"{engine} cannot interrupt a guest")
    plugin = guest.plugin("busy", LOOP, engine, execution=execution, timeouts={"call": 0.1})
    running = serving([plugin, guest.plugin("other", guest.answers("other"), engine)])
    answer = running.ask(id="busy")
    assert answer.status == 504
    assert answer.json["plugin"] == "busy"
    assert answer.json["phase"] == "on_request_headers"
    assert running.ask(id="other").body == b"other"


def test_called_function_that_fails(serving: Any, tools: Any, engine: str) -> None:
    running = serving(tools.quickstart(engine))  # no state store
    answer = running.ask("/?name=book1", "id_1")
    assert answer.status == 502
    assert "id_2" in answer.json["error"]


def test_host_function_that_raises_something_else(
    managing: Any, tools: Any, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(key: bytes, timeout: float) -> bytes:
        raise ZeroDivisionError("a secret of the host")

    monkeypatch.setattr(gate, "get", get)
    for execution in ("thread", "inline"):
        plugins = tools.quickstart("wasmtime", execution=execution)
        running = managing(plugins, state_stores=tools.GATED)
        for _ in range(3):
            answer = running.ask("/?a", "id_2")
            assert answer.status == 500
            assert answer.json["phase"] == "host"
            assert "ZeroDivisionError" in answer.json["error"]
            assert "secret" not in answer.json["error"]
        assert 'function="id_2"' in running.metrics()


def test_client_that_goes_away(serving: Any, tools: Any, gate: Any) -> None:
    plugins = tools.quickstart("wasmtime")
    running = serving(plugins, state_stores=tools.GATED)
    listener = running.server.listeners["main"]
    connection = tools.connect(running.place())
    connection.sendall(b"GET /?a HTTP/1.1\r\nhost: a\r\nid: id_2\r\n\r\n")
    gate.entered()
    connection.close()
    tools.eventually(lambda: listener.connections_active == 0)
    gate.opened.set()
    assert running.ask("/?b", "id_2").body == b"b"
    assert listener.counters.resets == 1


@pytest.mark.parametrize(
    "options", [{"instance_num": 4, "execution": "thread"}, {"instance_num": 1}], ids=str
)
def test_nothing_is_begun_for_a_client_that_went_away(
    serving: Any, tools: Any, gate: Any, monkeypatch: pytest.MonkeyPatch, options: Any
) -> None:
    monkeypatch.setattr("anywasm.server.server.WAITING_THREADS", 1)
    running = serving(tools.quickstart("wasmtime", **options), state_stores=tools.GATED)
    listener = running.server.listeners["main"]
    first = threading.Thread(target=running.ask, args=("/?a", "id_2"))
    first.start()
    gate.entered()
    connection = tools.connect(running.place())
    connection.sendall(b"GET /?b HTTP/1.1\r\nhost: a\r\nid: id_2\r\n\r\n")
    tools.eventually(lambda: listener.exchanges_active == 2)
    connection.close()
    tools.eventually(lambda: listener.connections_active == 1)
    gate.opened.set()
    first.join()
    assert running.ask("/?c", "id_2").body == b"c"
    assert gate.asked == 2


def test_half_a_request(serving: Any, guest: Any, tools: Any) -> None:
    running = serving([guest.plugin("hello", guest.answers("hello"))])
    for half in (
        b"GET / HT",
        b"POST / HTTP/1.1\r\nhost: a\r\nid: hello\r\ncontent-length: 9\r\n\r\nab",
    ):
        connection = tools.connect(running.place())
        connection.sendall(half)
        connection.close()
    assert running.ask(id="hello").body == b"hello"
    tools.eventually(lambda: running.server.listeners["main"].connections_active == 0)
