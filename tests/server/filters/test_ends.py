"""Every stream context ends exactly once, whatever ends the stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]


def slow(wire: Any) -> None:
    """An answer that never ends."""
    while wire.head() is not None:
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc")


def silent(wire: Any) -> None:
    """No answer."""
    wire.rest()


@pytest.mark.parametrize(
    ("serve", "word", "waits"),
    [
        (silent, "1p", "request_headers"),
        (silent, "2p", "request_body"),
        (silent, "3p", "request_trailers"),
        (silent, "1c", "request_trailers"),
        (slow, "4p", "response_headers"),
        (slow, "5p", "response_body"),
        (slow, "1c", "response_body"),
    ],
)
def test_clients_that_go_away(
    chained: Chained, tools: Any, serve: Any, word: str, waits: str
) -> None:
    chain = chained("abc", serve)
    for end in (True, False):
        body = b"3\r\nabc\r\n" + (b"0\r\nt: 1\r\n\r\n" if end or waits[8:] == "trailers" else b"")
        before = chain.log.said("b").count(waits)
        wire = chain.send(
            f"POST / HTTP/1.1\nhost: x\ntransfer-encoding: chunked\nx-b: {word}", body
        )
        tools.eventually(lambda b=before: chain.log.said("b").count(waits) > b)
        wire.socket.close()
        tools.eventually(lambda: not any(map(chain.streams, "abc")))
    assert chain.log.ended_once()
    # A filter behind the one that paused on the head was never shown the stream.
    assert len(chain.log.lives()) == (4 if word == "1p" else 6)


def test_clients_that_go_away_within_a_head_start_nothing(chained: Chained) -> None:
    chain = chained("a")
    wire = chain.wire()
    wire.send(b"GET / HTTP/1.1\r\nhost:")
    wire.socket.close()
    assert chain.ask("/").status == 200
    assert len(chain.log.lives()) == 1


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"", "503"),
        (b"nonsense\r\n\r\n", "502"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", None),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", None),
    ],
)
def test_upstreams_that_go_away(chained: Chained, answer: bytes, status: str | None) -> None:
    def serve(wire: Any) -> None:
        wire.head()
        wire.send(answer)

    chain = chained("abc", serve)
    wire = chain.send("POST / HTTP/1.1\nhost: x\ncontent-length: 1", b"x")
    if status is None:
        received = wire.rest()
        assert received.startswith(b"HTTP/1.1 200 ")
        assert not received.endswith(b"0\r\n\r\n")
    else:
        assert wire.answer()[0].line.split()[1] == status
    assert chain.log.ended_once()


def test_an_upstream_that_is_too_slow_is_a_504(chained: Chained) -> None:
    chain = chained("abc", silent, route={"timeout": 0.2})
    answer = chain.ask("/", headers={"x-a": "4h"})
    assert (answer.status, answer.body) == (504, b"upstream request timeout")
    assert answer.values("x-a") == ["on"]
    assert chain.log.ended_once()


def test_an_upstream_that_is_too_slow_with_its_body_is_cut(chained: Chained) -> None:
    chain = chained("abc", slow, route={"timeout": 0.3})
    received = chain.send("GET / HTTP/1.1\nhost: x").rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith((b"abc", b"\r\n\r\n"))
    assert chain.log.ended_once()


def test_servers_that_stop_end_what_is_paused(chained: Chained, tools: Any) -> None:
    chain = chained("abc")
    chain.running.server.config = chain.running.server.config.model_copy(
        update={"drain_timeout": 0.2}
    )
    wires = [chain.send(f"GET / HTTP/1.1\nhost: x\nx-{name}: 1p") for name in "abc"]
    tools.eventually(lambda: chain.log.said("c").count("request_headers") == 1)
    chain.running.stop()
    assert [wire.rest() for wire in wires] == [b"", b"", b""]
    assert chain.log.ended_once()


def test_a_filter_that_looks_at_answers_only(chained: Chained, box: Any) -> None:
    request = ("headers", "body", "trailers")
    module = box.filter_module(without=tuple(f"proxy_on_request_{what}" for what in request))
    chain = chained("a", module=module)
    assert chain.ask("/", body=b"abc").status == 200
    assert chain.log.ended_once()
    assert chain.log.said("a")[0] == "response_headers"


def test_a_new_version_takes_over_under_load(chained: Chained, box: Any, tools: Any) -> None:
    chain = chained("ab")
    manager = chain.running.server.manager
    paused = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 1p")
    tools.eventually(lambda: "request_headers" in chain.log.said("a"))
    old = chain.pool()
    statuses: list[int] = []
    stop = threading.Event()

    def load() -> None:
        client = tools.Client(chain.place)
        while not stop.is_set():
            statuses.append(client.ask("/", headers={"x-a": "4h", "x-b": "4h"}).status)
        client.close()

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    path = manager.get("a").plugin.config.vm_config.path
    for number in range(5):
        path.write_bytes(box.filter_module(start=f"(drop (i32.const {number}))"))
        seen = len(statuses)
        manager.reload("a")
        tools.eventually(lambda s=seen: len(statuses) > s + 5)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    # What was paused in the first version ends there.
    assert sum(slot.streams for slot in old.slots) == 1
    paused.socket.close()
    tools.eventually(lambda: not old.slots)
    tools.eventually(lambda: not chain.streams("a"))


@pytest.mark.parametrize("count", [3])
def test_streams_are_spread_over_instances(chained: Chained, tools: Any, count: int) -> None:
    chain = chained("a", plugin={"instance_num": count})
    wires = [chain.send("GET / HTTP/1.1\nhost: x\nx-a: 1p") for _ in range(2 * count)]
    tools.eventually(lambda: chain.streams() == 2 * count)
    assert [slot.streams for slot in chain.pool().slots] == [2] * count
    for wire in wires:
        wire.socket.close()
    tools.eventually(lambda: not chain.streams())
    assert chain.log.said("a").count("delete") == 2 * count


def test_chains_work_on_every_engine(chained: Chained, engine: str) -> None:
    chain = chained("abc", engine=engine)
    answer = chain.ask("/", body=b"abc", headers={"x-a": "1h,2a", "x-b": "4h", "x-c": "5a"})
    assert answer.status == 200
    assert b"abclocal" in answer.body
    assert answer.body.endswith(b"local")
    assert answer.values("x-b") == ["on"]
    assert chain.ask("/", headers={"x-b": "1l,4h"}).body == b"local"
    assert chain.ask("/", headers={"x-b": "1t"}).status == 503
    assert chain.ask("/").status == 200
