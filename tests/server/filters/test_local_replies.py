"""Answers and ends that filters give, from every callback of every place in a chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]
BODY = b"x" * 10


def script(at: str, word: str) -> dict[str, str]:
    return {f"x-{at}": word}


@pytest.mark.parametrize("at", "abc")
@pytest.mark.parametrize("phase", ["1", "2", "3"])
def test_an_answer_in_the_request_passes_the_filters_that_saw_it(
    chained: Chained, tools: Any, at: str, phase: str
) -> None:
    chain = chained("abc")
    mark = {f"x-{name}": "4h" for name in "abc"}
    mark[f"x-{at}"] = f"{phase}l,4h"
    fields = "".join(f"\n{name}: {value}" for name, value in mark.items())
    wire = chain.send(
        f"POST / HTTP/1.1\nhost: x\ntransfer-encoding: chunked{fields}",
        b"3\r\nabc\r\n0\r\nt: 1\r\n\r\n",
    )
    head, body, _ = wire.answer()
    assert head.line.startswith("HTTP/1.1 201 ")
    assert body == b"local"
    # The headers of the request reach all filters, unless the answer is given on them.
    seen = "abc" if phase != "1" else "abc"[: "abc".index(at) + 1]
    assert [name for name in "cba" if head.values(f"x-{name}")] == list(reversed(seen))
    wire.socket.close()
    tools.eventually(lambda: all(not chain.streams(name) for name in "abc"))
    assert chain.log.ended_once()
    # Nothing of the request is shown to anybody after the answer.
    for name in "abc":
        said = chain.log.said(name)
        assert "response_trailers" not in said
        if "response_headers" in said:
            after = said[said.index("response_headers") :]
            assert not [step for step in after if step.startswith("request")]


@pytest.mark.parametrize("at", "abc")
def test_an_answer_to_an_answer_goes_past_all_filters(chained: Chained, at: str) -> None:
    chain = chained("abc")
    mark = {f"x-{name}": "4h,5a" for name in "abc"}
    answer = chain.ask("/", headers=mark | script(at, "4l"))
    assert (answer.status, answer.body) == (201, b"local")
    assert not any(answer.values(f"x-{name}") for name in "abc")
    assert chain.ask("/", headers=mark).status == 200
    assert chain.log.ended_once()


@pytest.mark.parametrize("at", "abc")
@pytest.mark.parametrize("phase", ["5", "6"])
def test_an_answer_in_the_body_of_an_answer_cuts_it(chained: Chained, at: str, phase: str) -> None:
    def serve(wire: Any) -> None:
        while wire.head() is not None:
            wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            wire.send(b"0\r\nt: 1\r\n\r\n")

    chain = chained("abc", serve)
    wire = chain.send(f"GET / HTTP/1.1\nhost: x\nx-{at}: {phase}l")
    received = wire.rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"0\r\n\r\n" not in received
    assert b"local" not in received
    assert chain.log.ended_once()


def test_the_first_of_two_answers_wins(chained: Chained) -> None:
    chain = chained("a")
    assert chain.ask("/", headers=script("a", "1lL")).body == b"local"


@pytest.mark.parametrize("stream", ["x", "X"])
@pytest.mark.parametrize("phase", ["1", "2", "4"])
@pytest.mark.parametrize("at", "ac")
def test_a_closed_stream_ends_without_an_answer(
    chained: Chained, stream: str, phase: str, at: str
) -> None:
    chain = chained("abc")
    wire = chain.send(
        f"POST / HTTP/1.1\nhost: x\ncontent-length: 3\nx-{at}: {phase}{stream}", b"abc"
    )
    assert wire.rest() == b""
    assert chain.ask("/").status == 200
    assert chain.log.ended_once()


def test_a_stream_closed_in_the_body_of_its_answer_is_seen_to_be_cut(chained: Chained) -> None:
    chain = chained("ab")
    wire = chain.send("GET / HTTP/1.1\nhost: x\nx-b: 5x")
    received = wire.rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\n")
    assert b"content-length" in received


def test_an_answer_in_done_or_log_is_too_late(chained: Chained) -> None:
    chain = chained("a")
    answer = chain.ask("/", headers=script("a", "7lxC,8lxD,9lC"))
    assert answer.status == 200
    assert chain.log.ended_once()


@pytest.mark.parametrize(("letter", "status"), [("k", 201), ("K", None)])
def test_another_streams_call_answers_or_closes_a_paused_one(
    chained: Chained, tools: Any, letter: str, status: int | None
) -> None:
    chain = chained("ab")
    paused = chain.send("GET / HTTP/1.1\nhost: x\nx-b: 1p")
    tools.eventually(lambda: "request_headers" in chain.log.said("b"))
    assert chain.ask("/", headers=script("b", f"1{letter}")).status == 200
    if status is None:
        assert paused.rest() == b""
    else:
        assert paused.answer()[0].line.startswith(f"HTTP/1.1 {status} ")
        # It was answered at the end of the other's call, and takes part in nothing any more.
        assert chain.ask("/", headers=script("b", "1r")).status == 200
    assert chain.log.ended_once()


def test_a_request_that_was_answered_is_not_let_on_later(chained: Chained, tools: Any) -> None:
    chain = chained("ab")
    # b pauses, then is both answered and continued; a holds the answer up meanwhile.
    paused = chain.send("GET / HTTP/1.1\nhost: x\nx-b: 1p\nx-a: 4p")
    tools.eventually(lambda: "request_headers" in chain.log.said("b"))
    assert chain.ask("/", headers=script("b", "1rk")).status == 200
    tools.eventually(lambda: chain.log.said("a").count("response_headers") == 2)
    assert chain.ask("/", headers=script("b", "1r")).status == 200
    assert chain.ask("/", headers=script("a", "1R")).status == 200
    head, body, _ = paused.answer()
    assert (head.line.split()[1], body) == ("201", b"local")
    assert chain.log.ended_once()


def test_a_grpc_request_is_answered_as_grpc_wants_it(chained: Chained) -> None:
    chain = chained("a")
    answer = chain.ask("/", headers={"content-type": "application/grpc", "x-a": "1t"})
    assert answer.status == 200
    assert answer.values("grpc-status") == ["14"]
