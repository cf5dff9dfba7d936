"""Filters that hold a stream up, and what lets it go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]

WITH_TRAILERS = b"3\r\nabc\r\n0\r\nt: 1\r\n\r\n"


def steps(chain: Any, name: str, callback: str) -> int:
    return int(chain.log.said(name).count(callback))


@pytest.mark.parametrize("stop", [False, True])
def test_a_pause_on_headers_holds_the_body_unless_iteration_stops_only(
    chained: Chained, tools: Any, stop: bool
) -> None:
    chain = chained("a", plugin={"allow_on_headers_stop_iteration": stop})
    paused = chain.send("POST / HTTP/1.1\nhost: x\nx-a: 1p,2u\ncontent-length: 3", b"abc")
    if not stop:
        tools.eventually(lambda: steps(chain, "a", "request_headers"))
        assert chain.ask("/direct", headers={"x-a": "1r"}).status == 200
    head, body, _ = paused.answer()
    assert head.line.startswith("HTTP/1.1 200 ")
    assert body.endswith(b"\n\nabc")
    assert chain.log.ended_once()


@pytest.mark.parametrize("at", "abc")
def test_a_paused_body_is_collected_and_replaced(chained: Chained, at: str) -> None:
    chain = chained("abc")
    for body in (b"", b"abc", b"x" * 100_000):
        answer = chain.ask("/", method="POST", body=body, headers={f"x-{at}": "2ua"})
        assert answer.status == 200
        sent = answer.body.partition(b"\n\n")[2]
        # The callback runs again at the end, with all that was collected.
        assert sent.replace(b"local", b"") == body
        assert not body or sent.endswith(b"local")


@pytest.mark.parametrize("at", "abc")
@pytest.mark.parametrize("letter", ["p", "w"])
def test_what_waits_in_another_stream_is_resumed_with_its_trailers(
    chained: Chained, tools: Any, at: str, letter: str
) -> None:
    chain = chained("abc")
    paused = chain.send(
        f"POST / HTTP/1.1\nhost: x\nx-{at}: 2{letter},3p\ntransfer-encoding: chunked",
        WITH_TRAILERS,
    )
    tools.eventually(lambda: steps(chain, at, "request_trailers"))
    # It was not let through to the next filter.
    for name in "abc"["abc".index(at) + 1 :]:
        assert not steps(chain, name, "request_body")
    assert chain.ask("/direct", headers={f"x-{at}": "1Br"}).status == 200
    _, body, _ = paused.answer()
    # The other stream's call has also replaced the body that was held.
    assert body.endswith(b"\n\nlocal\nt: 1")
    assert chain.log.ended_once()


def test_a_response_is_held_and_resumed(chained: Chained, tools: Any) -> None:
    chain = chained("abc")
    for word in ("4p", "5p"):
        paused = chain.send(f"GET / HTTP/1.1\nhost: x\nx-b: {word}")
        tools.eventually(lambda: steps(chain, "b", "response_headers"))
        if word == "5p":
            tools.eventually(lambda: steps(chain, "b", "response_body") >= 2)
        assert chain.ask("/direct", headers={"x-b": "1R"}).status == 200
        head, body, _ = paused.answer()
        assert head.line.startswith("HTTP/1.1 200 ")
        assert body.startswith(b"GET / HTTP/1.1")
        chain.log.lines.clear()


def test_trailers_of_a_response_are_held_with_its_body(chained: Chained, tools: Any) -> None:
    def serve(wire: Any) -> None:
        while wire.head() is not None:
            wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + WITH_TRAILERS)

    chain = chained("ab", serve)
    paused = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 5p,6p")
    tools.eventually(lambda: steps(chain, "a", "response_trailers"))
    assert chain.ask("/direct", headers={"x-a": "1R"}).status == 200
    _head, body, trailers = paused.answer()
    assert (body, trailers) == (b"abc", ["t: 1"])


def test_trailers_may_be_added_at_the_end_of_a_body(chained: Chained) -> None:
    chain = chained("ab")
    wire = chain.send(
        "POST / HTTP/1.1\nhost: x\nx-a: 2uT,5uT\ntransfer-encoding: chunked",
        b"3\r\nabc\r\n0\r\n\r\n",
    )
    _, body, trailers = wire.answer()
    assert body.endswith(b"\n\nabc\nx-a: on")
    assert trailers == ["x-a: on"]


def test_a_request_continued_in_its_own_call_is_not_paused(chained: Chained) -> None:
    chain = chained("ab")
    assert chain.ask("/", headers={"x-a": "1Cp,4Dp", "x-b": "4Dp,5D"}).status == 200


def test_one_direction_resumes_the_other(chained: Chained, tools: Any) -> None:
    def serve(wire: Any) -> None:
        # The answer comes before the request's end.
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        wire.until(b"end")

    chain = chained("ab", serve, module=None)
    paused = chain.send("POST / HTTP/1.1\nhost: x\nx-a: 4p,2D\ntransfer-encoding: chunked")
    tools.eventually(lambda: steps(chain, "a", "response_headers"))
    paused.send(b"3\r\nend\r\n")
    assert paused.answer()[1] == b"ok"


def test_paused_in_both_directions(chained: Chained, tools: Any) -> None:
    def serve(wire: Any) -> None:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        wire.rest()

    chain = chained("a", serve)
    paused = chain.send(
        "POST / HTTP/1.1\nhost: x\nx-a: 2p,4p\ntransfer-encoding: chunked", b"3\r\nabc\r\n"
    )
    tools.eventually(lambda: steps(chain, "a", "response_headers"))
    tools.eventually(lambda: steps(chain, "a", "request_body"))
    assert chain.ask("/direct", headers={"x-a": "1rR"}).status == 200
    assert paused.answer()[1] == b"ok"
    paused.socket.close()
    tools.eventually(lambda: not chain.streams())
    assert chain.log.ended_once()


@pytest.mark.parametrize("word", ["1p", "2p", "4p", "5p"])
def test_a_pause_that_nobody_ends_is_a_504_or_a_cut(chained: Chained, word: str) -> None:
    chain = chained("ab", route={"timeout": 0.3})
    wire = chain.send(f"POST / HTTP/1.1\nhost: x\nx-a: {word}\ncontent-length: 3", b"abc")
    if word == "5p":
        received = wire.rest()
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.endswith(b"\r\n\r\n")
    else:
        head, body, _ = wire.answer()
        assert (head.line.split()[1], body) == ("504", b"upstream request timeout")
    assert chain.log.ended_once()


def test_a_resumed_stream_is_not_timed_any_more(chained: Chained, tools: Any) -> None:
    def serve(wire: Any) -> None:
        head = wire.head()
        body, _ = wire.body(head)
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    chain = chained("a", serve, route={"timeout": 0.4})
    wire = chain.send("POST / HTTP/1.1\nhost: x\nx-a: 1p\ntransfer-encoding: chunked")
    tools.eventually(lambda: steps(chain, "a", "request_headers"))
    assert chain.ask("/direct", headers={"x-a": "1r"}).status == 200
    # An upload may take longer than the route's timeout, which runs from its end.
    for _ in range(8):
        wire.send(b"1\r\nx\r\n")

        time.sleep(0.1)
    wire.send(b"0\r\n\r\n")
    assert wire.answer()[1] == b"x" * 8
