"""Filters that are called in threads of their own, because their imports may wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anywasm.core.threads import patient

Chained = Callable[..., Any]
THREAD = {"execution": "thread"}


def test_a_blocking_host_function_does_not_stop_the_loop(
    chained: Chained, box: Any, gate: Any, tools: Any
) -> None:
    chain = chained("ab", module=box.filter_module(blocking=True), stores=tools.GATED)
    waiting = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 1s,4h")
    gate.entered()
    # Another filter, and another stream of the same filter, wait for nothing but their own guest.
    others = [chain.send("GET /direct HTTP/1.1\nhost: x\nx-a: 4h") for _ in range(3)]
    assert chain.running.server.listeners["main"].exchanges_active >= 1
    tools.eventually(lambda: chain.streams("a") == 4)
    gate.opened.set()
    for wire in (waiting, *others):
        head, _, _ = wire.answer()
        assert head.line.startswith("HTTP/1.1 200 ")
        assert head.values("x-a") == ["on"]
    assert chain.log.ended_once()


@pytest.mark.parametrize("moment", ["client", "timeout"])
def test_what_ends_while_its_guest_waits(
    chained: Chained, box: Any, gate: Any, tools: Any, moment: str
) -> None:
    chain = chained(
        "ab",
        module=box.filter_module(blocking=True),
        stores=tools.GATED,
        route={"timeout": 0.3 if moment == "timeout" else 15},
        plugin={"timeouts": {"call": 30}},
    )
    wire = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 1s")
    gate.entered()
    if moment == "client":
        wire.socket.close()
    else:
        assert wire.answer()[0].line.startswith("HTTP/1.1 504 ")
    gate.opened.set()
    tools.eventually(lambda: not chain.streams("a"))
    assert chain.ask("/").status == 200
    assert chain.log.ended_once()


@pytest.mark.parametrize("word", ["1h,2a,3c,4h,5a", "1p,4D", "1l,4h", "1t", "2x", "4l", "5t"])
@pytest.mark.parametrize("names", ["a", "abc"])
def test_threads_change_no_answer(chained: Chained, tools: Any, word: str, names: str) -> None:
    answers: list[object] = []
    for plugin in (THREAD, {"execution": "inline"}):
        chain = chained(names, plugin=plugin)
        wire = chain.send(
            f"POST / HTTP/1.1\nhost: x\nx-request-id: 1\ntransfer-encoding: chunked\nx-a: {word}",
            b"3\r\nabc\r\n0\r\nt: 1\r\n\r\n",
        )
        if word.startswith("1p"):
            tools.eventually(lambda c=chain: "request_headers" in c.log.said("a"))
            tools.eventually(lambda c=chain: c.streams("a") == 1)
            assert chain.ask("/direct", headers={"x-a": "1r"}).status == 200
            head, body, trailers = wire.answer()
            answers.append((head.line, body, trailers))
        elif word in ("2x", "5t"):
            answers.append(wire.rest()[:15])
        else:
            head, body, trailers = wire.answer()
            kept = [field for field in head.headers if field[0] in ("x-a", "content-length")]
            answers.append((head.line, kept, body, trailers))
        chain.running.stop()
        assert chain.log.said("a").count("delete") >= (0 if "t" in word else 1)
    assert answers[0] == answers[1]


def test_many_streams_at_once(chained: Chained, tools: Any) -> None:
    chain = chained("abc", plugin=THREAD)
    statuses: list[int] = []

    def load() -> None:
        client = tools.Client(chain.place)
        for _ in range(20):
            headers = {"x-a": "1h,4h", "x-b": "2a,5a", "x-c": "4h"}
            statuses.append(client.ask("/", body=b"abc", headers=headers).status)
        client.close()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 80
    assert chain.log.ended_once()
    tools.eventually(lambda: not any(map(chain.streams, "abc")))


def test_a_guest_that_breaks_in_its_thread_takes_its_streams_along(
    chained: Chained, box: Any, gate: Any, tools: Any
) -> None:
    chain = chained(
        "a",
        module=box.filter_module(blocking=True),
        stores=tools.GATED,
        plugin={"timeouts": {"call": 30}},
    )
    breaks = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 1st")
    gate.entered()
    waits = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 1c")
    tools.eventually(lambda: chain.streams() == 2)
    gate.opened.set()
    assert breaks.answer()[0].line.startswith("HTTP/1.1 503 ")
    assert waits.answer()[0].line.startswith("HTTP/1.1 503 ")
    tools.eventually(lambda: not chain.streams())
    assert chain.ask("/").status == 200


@pytest.mark.parametrize("execution", ["inline", "thread"])
def test_every_engine_serves_filters_both_ways(
    chained: Chained, engine: str, execution: str
) -> None:
    chain = chained("ab", engine=engine, plugin={"execution": execution})
    answer = chain.ask("/", body=b"abc", headers={"x-a": "1h,2a,4h", "x-b": "5a"})
    assert (answer.status, answer.values("x-a")) == (200, ["on"])
    assert answer.body.endswith(b"local")
    assert chain.ask("/", headers={"x-a": "1t"}).status == 503
    assert chain.ask("/").status == 200


def test_no_other_thread_makes_guests_give_way(
    managing: Any, box: Any, tools: Any, tmp_path: Path
) -> None:
    before = threading.enumerate()
    (tmp_path / "f.wasm").write_bytes(box.filter_module())
    vm = {"engine": "wasmtime", "path": str(tmp_path / "f.wasm")}
    listener = {
        "name": "main",
        "address": "127.0.0.1:0",
        "filters": ["a"],
        "routes": [{"prefix": "/", "direct_response": {"body": "direct"}}],
    }
    plugin = {"name": "a", "plugin_config": "a", "vm_config": vm}
    running = managing([plugin], listeners=[listener], watch=True)

    def others() -> set[int | None]:
        new = [thread for thread in threading.enumerate() if thread not in before]
        return {thread.ident for thread in new if thread.name != "test-loop"}

    for size in (2, 1):
        assert running.manage("update", {"name": "a", "instance_num": size}).status == 200
        assert running.ask("/").body == b"direct"
        tools.eventually(lambda: others() and others() <= patient)
