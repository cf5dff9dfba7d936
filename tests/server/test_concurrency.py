"""Many clients at once get their own answers, on every engine and in every way to run a guest."""

from __future__ import annotations

import threading
from typing import Any

import pytest

CLIENTS = 8
REQUESTS = 40


def storm(running: Any, tools: Any, request: Any) -> list[str]:
    """Let all clients ask at once; returns what was wrong."""
    wrong: list[str] = []
    start = threading.Barrier(CLIENTS)

    def work(client_number: int) -> None:
        client = tools.Client(running.place())
        start.wait()
        for number in range(REQUESTS):
            text = f"{client_number}-{number}"
            answer, wanted = request(client, text)
            if (answer.status, answer.body) != (200, wanted):
                wrong.append(f"{text}: {answer}")
        client.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


@pytest.mark.parametrize("execution", ["inline", "thread"])
@pytest.mark.parametrize("instance_num", [1, 4])
def test_echo(
    serving: Any, guest: Any, tools: Any, engine: str, instance_num: int, execution: str
) -> None:
    plugin = guest.plugin(
        "echo",
        "(i32.const 0)",
        engine,
        body=guest.echoes,
        instance_num=instance_num,
        execution=execution,
        timeouts={"lease": 15},
    )
    running = serving([plugin])

    def request(client: Any, text: str) -> Any:
        return client.ask(id="echo", body=text.encode()), text.encode()

    assert storm(running, tools, request) == []
    pool = running.server.manager.get("echo").plugin.pool
    assert len(pool.slots) == pool.idle == instance_num
    assert pool.replaced == 0


@pytest.mark.parametrize("instance_num", [1, 4])
def test_functions_that_call_each_other(
    serving: Any, tools: Any, engine: str, instance_num: int
) -> None:
    keys = [f"{c}-{n}" for c in range(CLIENTS) for n in range(REQUESTS)]
    stores = {"state_demo": {"type": "memory", "data": {key: key[::-1] for key in keys}}}
    plugins = tools.quickstart(engine, instance_num=instance_num, timeouts={"lease": 15})
    running = serving(plugins, state_stores=stores)

    def request(client: Any, text: str) -> Any:
        wanted = f"There are {text[::-1]} inventories for {text}."
        return client.ask(f"/?name={text}", "id_1"), wanted.encode()

    assert storm(running, tools, request) == []


def test_instances_run_at_once(serving: Any, tools: Any, gate: Any, engine: str) -> None:
    running = serving(tools.quickstart(engine, instance_num=4), state_stores=tools.GATED)
    answers: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda key: answers.append(running.ask(f"/?{key}", "id_2").body), args=(key,)
        )
        for key in "abcd"
    ]
    for thread in threads:
        thread.start()
    gate.entered(4)
    gate.opened.set()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [b"a", b"b", b"c", b"d"]
    assert gate.most_at_once == 4


def test_waiting_functions_do_not_hold_up_others(
    managing: Any, guest: Any, tools: Any, gate: Any
) -> None:
    plugins = [*tools.quickstart("wasmtime"), guest.plugin("hello", guest.answers("hello"))]
    running = managing(plugins, state_stores=tools.GATED)
    waiting = threading.Thread(target=running.ask, args=("/?a", "id_2"))
    waiting.start()
    gate.entered()
    assert running.ask(id="hello").body == b"hello"
    assert running.manage("list").status == 200
    gate.opened.set()
    waiting.join()


def test_failing_guests_among_good_ones(serving: Any, guest: Any, tools: Any, engine: str) -> None:
    # Bodies of an odd length trap.
    body = "(if (i32.and (local.get 1) (i32.const 1)) (then unreachable))" + guest.echoes
    plugin = guest.plugin(
        "odd", "(i32.const 0)", engine, body=body, instance_num=2, timeouts={"lease": 15}
    )
    running = serving([plugin])

    def request(client: Any, text: str) -> Any:
        text = text.zfill(6)
        if text.endswith("7"):
            failed = client.ask(id="odd", body=b"x")
            assert failed.status == 500
        return client.ask(id="odd", body=text.encode()), text.encode()

    assert storm(running, tools, request) == []
