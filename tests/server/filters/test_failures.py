"""Filters that break, for their own streams and for those of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Chained = Callable[..., Any]
CLOSED = {"failure_policy": "fail_closed"}
OPEN = {"failure_policy": "fail_open"}


@pytest.mark.parametrize("at", "abc")
@pytest.mark.parametrize("word", ["1t", "2t", "3t", "4t"])
def test_a_trap_is_a_503_that_the_other_filters_see(chained: Chained, at: str, word: str) -> None:
    chain = chained("abc", plugin=CLOSED)
    fields = "".join(f"\nx-{name}: 4h" for name in "abc" if name != at)
    wire = chain.send(
        f"POST / HTTP/1.1\nhost: x\ntransfer-encoding: chunked{fields}\nx-{at}: {word}",
        b"3\r\nabc\r\n0\r\nt: 1\r\n\r\n",
    )
    head, body, _ = wire.answer()
    assert (head.line.split()[1], body) == ("503", b"")
    before = list("abc"[: "abc".index(at)])
    if word == "4t":
        assert not any(head.values(f"x-{name}") for name in "abc")
    else:
        # Those behind it saw the request where that went on until its body.
        saw = before if word == "1t" else [name for name in "abc" if name != at]
        assert sorted(name for name in "abc" if head.values(f"x-{name}")) == saw
    # From now on no stream gets past it, but those before it are asked.
    answer = chain.ask("/", headers=dict.fromkeys(("x-a", "x-b", "x-c"), "4h"))
    assert answer.status == 503
    assert [name for name in "abc" if answer.values(f"x-{name}")] == before


def test_a_filter_that_pauses_the_503_of_another_is_waited_for(
    chained: Chained, tools: Any
) -> None:
    chain = chained("ab")
    paused = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 4p\nx-b: 1t")
    tools.eventually(lambda: "response_headers" in chain.log.said("a"))
    assert chain.ask("/direct", headers={"x-a": "1R,4h"}).values("x-a") == ["on"]
    assert paused.answer()[0].line.startswith("HTTP/1.1 503 ")


@pytest.mark.parametrize("word", ["5t", "6t"])
def test_a_trap_in_the_body_of_an_answer_cuts_it(chained: Chained, word: str) -> None:
    def serve(wire: Any) -> None:
        while wire.head() is not None:
            wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            wire.send(b"0\r\nt: 1\r\n\r\n")

    chain = chained("ab", serve)
    received = chain.send(f"GET / HTTP/1.1\nhost: x\nx-a: {word}").rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert not received.endswith(b"0\r\n\r\n")
    # With the default policy there is a new instance at once.
    assert chain.ask("/").status == 200
    assert chain.pool().replaced == 1


def test_a_guest_that_never_returns_is_a_504(chained: Chained) -> None:
    chain = chained("a", plugin=CLOSED | {"timeouts": {"call": 0.2}})
    assert chain.ask("/", headers={"x-a": "1b"}).status == 504
    # Envoy's policy for crashes says nothing of this, and it must not end all service.
    assert chain.ask("/").status == 200


@pytest.mark.parametrize("policy", ["fail_reload", "fail_closed"])
@pytest.mark.parametrize("word", ["1p", "2p", "4p", "5p"])
def test_streams_that_are_paused_on_a_broken_guest_fail_with_it(
    chained: Chained, tools: Any, policy: str, word: str
) -> None:
    chain = chained("ab", plugin={"failure_policy": policy})
    wires = [
        chain.send(f"POST / HTTP/1.1\nhost: x\nx-b: {word}\ncontent-length: 3", b"abc")
        for _ in range(3)
    ]
    callback = {"1": "request_headers", "2": "request_body", "4": "response_headers"}
    waits = callback.get(word[0], "response_body")

    def waiting() -> int:
        """How many streams have come so far; one may be told of its body twice."""
        lives = chain.log.lives().items()
        return sum(who == "b" and waits in life for (who, _), life in lives)

    tools.eventually(lambda: waiting() == 3)
    assert chain.ask("/", headers={"x-b": "1t"}).status == 503
    for wire in wires:
        if word == "5p":
            received = wire.rest()
            assert received.startswith(b"HTTP/1.1 200 ")
            assert received.endswith(b"\r\n\r\n")
        else:
            assert wire.answer()[0].line.startswith("HTTP/1.1 503 ")
    tools.eventually(lambda: not chain.streams("a") + chain.streams("b"))
    assert chain.ask("/").status == (200 if policy == "fail_reload" else 503)
    tools.eventually(lambda: chain.log.said("a").count("delete") == 5)


@pytest.mark.parametrize("word", ["1p", "2p", "4p", "5p"])
def test_under_fail_open_they_go_on_without_it(chained: Chained, tools: Any, word: str) -> None:
    chain = chained("ab", plugin=OPEN)
    paused = chain.send(f"POST / HTTP/1.1\nhost: x\nx-b: {word}\ncontent-length: 3", b"abc")
    callback = {"1": "request_headers", "2": "request_body", "4": "response_headers"}
    waits = callback.get(word[0], "response_body")
    tools.eventually(lambda: waits in chain.log.said("b"))
    # The request that broke it fails all the same, as in Envoy.
    assert chain.ask("/", headers={"x-b": "1t"}).status == 503
    head, body, _ = paused.answer()
    assert head.line.startswith("HTTP/1.1 200 ")
    assert body.endswith(b"\n\nabc")
    assert chain.ask("/", headers={"x-b": "1l"}).status == 200


@pytest.mark.parametrize("word", ["7t", "8t", "9t"])
def test_a_trap_at_the_end_of_a_stream_harms_only_the_guest(chained: Chained, word: str) -> None:
    chain = chained("ab")
    assert chain.ask("/", headers={"x-a": word}).status == 200
    assert chain.ask("/").status == 200
    assert chain.pool("a").replaced == 1
    assert chain.pool("b").replaced == 0


def test_a_filter_without_a_working_instance_lets_earlier_ones_answer(chained: Chained) -> None:
    chain = chained("ab", plugin=CLOSED)
    assert chain.ask("/", headers={"x-b": "1t"}).status == 503
    assert chain.ask("/", headers={"x-a": "1l"}).status == 201


def test_a_removed_filter_is_a_503(chained: Chained) -> None:
    chain = chained("ab")
    chain.running.server.manager.uninstall("b")
    assert chain.ask("/").status == 503


def test_failures_are_spaced_by_the_backoff(chained: Chained) -> None:
    chain = chained("a", plugin={"reload_backoff": {"base": 60, "max": 60}})
    assert chain.ask("/", headers={"x-a": "1t"}).status == 503
    assert chain.ask("/", headers={"x-a": "1t"}).status == 503  # in the one that replaced it
    assert chain.ask("/").status == 503  # not replaced yet
    assert chain.pool().replaced == 1
