"""Slow sides, full buffers, silent streams, and clients that wait to be asked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]

MIB = 1024 * 1024
#: More than all buffers on the way hold.
MUCH = 40 * MIB
#: What the sockets' and the host's buffers may hold.
BUFFERS = 24 * MIB


class Flood:
    """Sends for ever, and counts what it got rid of."""

    def __init__(self) -> None:
        self.sent = 0

    def send(self, wire: Any) -> None:
        piece = b"x" * 65536
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        while self.sent < MUCH:
            self.sent += wire.socket.send(piece[: MUCH - self.sent])

    def settle(self) -> int:
        """How much was taken once nothing more is."""
        last = -1
        while last != self.sent or not last:
            last = self.sent
            time.sleep(0.3)
        return self.sent


@pytest.mark.parametrize("names", ["", "a", "abc"])
def test_a_slow_client_slows_the_upstream(chained: Chained, tools: Any, names: str) -> None:
    flood = Flood()

    def serve(wire: Any) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % MUCH)
        flood.send(wire)

    chain = chained(names, serve)
    wire = chain.send("GET / HTTP/1.1\nhost: x")
    head = wire.head()
    assert head is not None
    assert flood.settle() < BUFFERS
    assert wire.skip_body(head) == MUCH  # it goes on where the client does


@pytest.mark.parametrize("word", ["1c", "1p"])
def test_a_slow_upstream_or_filter_slows_the_client(
    chained: Chained, tools: Any, word: str
) -> None:
    def serve(wire: Any) -> None:
        head = wire.head()
        go.wait(20)
        assert wire.skip_body(head) == MUCH
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    go = threading.Event()
    chain = chained("abc", serve)
    flood = Flood()
    wire = chain.send(f"POST / HTTP/1.1\nhost: x\ncontent-length: {MUCH}\nx-b: {word}")
    sender = threading.Thread(target=flood.send, args=(wire,))
    sender.start()
    assert flood.settle() < BUFFERS
    if word == "1p":
        assert chain.ask("/direct", headers={"x-b": "1r"}).status == 200
    go.set()
    assert wire.answer()[1] == b"ok"
    sender.join()


def test_a_paused_response_slows_the_upstream(chained: Chained, tools: Any) -> None:
    flood = Flood()

    def serve(wire: Any) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % MUCH)
        flood.send(wire)

    chain = chained("abc", serve)
    wire = chain.send("GET / HTTP/1.1\nhost: x\nx-b: 4p")
    tools.eventually(lambda: "response_headers" in chain.log.said("b"))
    assert flood.settle() < BUFFERS
    assert chain.ask("/direct", headers={"x-b": "1R"}).status == 200
    head = wire.head()
    assert head is not None
    assert wire.skip_body(head) == MUCH


def test_a_body_that_is_collected_may_not_be_too_long(chained: Chained) -> None:
    chain = chained("ab", limits={"max_buffer_bytes": 1000})
    fits, long = b"x" * 1000, b"x" * 1001
    assert chain.ask("/", body=fits, headers={"x-a": "2u"}).status == 200
    wire = chain.send("POST / HTTP/1.1\nhost: x\ntransfer-encoding: chunked\nx-b: 2u\nx-a: 4h")
    for _ in range(3):
        wire.send(b"190\r\n" + b"x" * 400 + b"\r\n")
        time.sleep(0.05)
    head, body, _ = wire.answer()
    assert (head.line.split()[1], body) == ("413", b"Payload Too Large")
    assert head.values("x-a") == ["on"]
    # One that is let through is not bounded.
    assert chain.ask("/", body=long * 50, headers={"x-a": "2c"}).status == 200
    assert chain.log.ended_once()


@pytest.mark.parametrize(("word", "status"), [("5u", None), ("4p", "200")])
def test_a_response_that_is_collected_may_not_be_too_long(
    chained: Chained, tools: Any, word: str, status: str | None
) -> None:
    def serve(wire: Any) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(10):
            wire.send(b"190\r\n" + b"x" * 400 + b"\r\n")
            time.sleep(0.02)
        wire.send(b"0\r\n\r\n")

    chain = chained("ab", serve, limits={"max_buffer_bytes": 1000})
    wire = chain.send(f"GET / HTTP/1.1\nhost: x\nx-a: {word}")
    if status is None:
        received = wire.rest()
        # Its head had left the filter, so that only a cut can tell.
        assert received.startswith(b"HTTP/1.1 200 ")
        assert not received.endswith(b"0\r\n\r\n")
    else:
        tools.eventually(lambda: "response_headers" in chain.log.said("a"))
        assert chain.ask("/direct", headers={"x-a": "1R"}).status == 200
        assert len(wire.answer()[1]) == 4000


def test_a_response_that_is_held_with_its_head_is_a_500(chained: Chained) -> None:
    def serve(wire: Any) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(10):
            wire.send(b"190\r\n" + b"x" * 400 + b"\r\n")
            time.sleep(0.02)
        wire.rest()

    stop = {"allow_on_headers_stop_iteration": True}
    chain = chained("ab", serve, plugin=stop, limits={"max_buffer_bytes": 1000})
    answer = chain.ask("/", headers={"x-a": "4p,5p"})
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert chain.log.ended_once()


# --- streams on which nothing happens ------------------------------------------------------------

IDLE = {"limits": {"stream_idle_timeout": 0.4}, "route": {"timeout": 0}}


@pytest.mark.parametrize("word", ["1c", "1p"])
def test_a_silent_stream_is_a_504_once_the_request_is_there(chained: Chained, word: str) -> None:
    chain = chained("ab", lambda wire: wire.rest(), **IDLE)
    answer = chain.ask("/", headers={"x-a": word})
    assert (answer.status, answer.body) == (504, b"stream timeout")
    assert chain.log.ended_once()


def test_a_silent_client_is_a_408(chained: Chained) -> None:
    chain = chained("ab", **IDLE)
    wire = chain.send("POST / HTTP/1.1\nhost: x\ncontent-length: 9", b"abc")
    head, body, _ = wire.answer()
    assert (head.line.split()[1], body) == ("408", b"stream timeout")


def test_a_response_that_falls_silent_is_cut(chained: Chained) -> None:
    def serve(wire: Any) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
        wire.rest()

    chain = chained("ab", serve, **IDLE)
    assert chain.send("GET / HTTP/1.1\nhost: x").rest().startswith(b"HTTP/1.1 200 ")
    assert chain.log.ended_once()


def test_a_stream_on_which_something_happens_is_not_idle(chained: Chained) -> None:
    def serve(wire: Any) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
        for _ in range(10):
            wire.send(b"x")
            time.sleep(0.1)

    chain = chained("ab", serve, **IDLE)
    assert chain.ask("/").body == b"x" * 10


# --- Expect: 100-continue ------------------------------------------------------------------------

EXPECTS = "POST {} HTTP/1.1\nhost: x\ncontent-length: 3\nexpect: 100-continue\nx-a: {}"
CONTINUE = b"HTTP/1.1 100 Continue"


def test_a_client_is_asked_for_its_body(chained: Chained) -> None:
    chain = chained("ab")
    wire = chain.send(EXPECTS.format("/", "1c"))
    assert wire.until(b"\r\n\r\n") == CONTINUE
    wire.send(b"abc")
    _, body, _ = wire.answer()
    assert body.endswith(b"\n\nabc")
    assert b"\nexpect:" not in body


def test_it_is_not_asked_where_it_is_answered(chained: Chained) -> None:
    chain = chained("ab")
    for target, word, status in (("/", "1l", "201"), ("/direct", "1c", "200"), ("/", "1t", "503")):
        head, _, _ = chain.send(EXPECTS.format(target, word)).answer()
        assert head.line.split()[1] == status


@pytest.mark.parametrize(("later", "expected"), [("1k", b"HTTP/1.1 201 "), ("1r", CONTINUE)])
def test_it_is_not_asked_while_a_filter_decides(
    chained: Chained, tools: Any, later: str, expected: bytes
) -> None:
    chain = chained("ab")
    wire = chain.send(EXPECTS.format("/", "1p"))
    tools.eventually(lambda: "request_headers" in chain.log.said("a"))
    assert chain.ask("/direct", headers={"x-a": later}).status == 200
    assert wire.until(b"\r\n\r\n").startswith(expected)


def test_a_filter_that_waits_for_the_body_asks_for_it(chained: Chained) -> None:
    chain = chained("ab", plugin={"allow_on_headers_stop_iteration": True})
    wire = chain.send(EXPECTS.format("/", "1p,2u"))
    assert wire.until(b"\r\n\r\n") == CONTINUE
    wire.send(b"abc")
    assert wire.answer()[1].endswith(b"\n\nabc")
