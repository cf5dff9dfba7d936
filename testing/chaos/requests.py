"""The requests of a run, the harm in them, and what they may be answered."""

from __future__ import annotations

import random
from dataclasses import dataclass

from anywasm.testing.chaos.client import Answer

#: What happens to an instance by which its streams fail.
_FATAL = ("trap", "oob", "recurse", "bomb")
_BEFORE = ("request_headers", "request_body", "response_headers")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and the statuses that it may be answered.

    Attributes:
        listener: Where it goes.
        fault: What it is counted as: `none`, or the harm and where it is done.
        order: The header `x-chaos`, where there is one.
        function: The header `id`, where there is one.
        body: The body.
        allowed: Statuses.
        may_cut: Whether the answer may break off, visibly, after its head.
        expected: The body of a 200.
    """

    listener: str
    fault: str
    order: str | None
    function: str | None
    body: bytes
    allowed: frozenset[int]
    may_cut: bool = False
    expected: bytes | None = None

    def objection(self, answer: Answer) -> str | None:
        """What is wrong with the answer, or None."""
        if answer.cut:
            return None if self.may_cut else f"cut off after the head of a {answer.status}"
        if answer.status not in self.allowed:
            return f"answered {answer.status}"
        if "x-injected" in answer.headers or answer.headers.get("x-evil"):
            return "a header was injected"
        if answer.status != 200:
            return None
        if self.expected is not None and answer.body != self.expected:
            return f"answered with a wrong body of {len(answer.body)} bytes"
        if self.function is None and answer.headers.get("x-seen") != "1":
            return "passed without its filter"
        return None


def _body(chance: random.Random) -> bytes:
    return b"%d:" % chance.randrange(1 << 30) + b"x" * chance.choice((0, 100, 5_000, 200_000))


#: Listeners: filters of which nothing bad is asked, inline and in threads; then those of harm.
CALM, HOSTILE, THREADED, FUNCTIONS = "calm", "hostile", "threaded", "functions"


def draw(chance: random.Random, harm: float) -> Request:
    """A request; with the probability `harm` it does some."""
    listener = chance.choice((CALM, CALM, HOSTILE, THREADED, FUNCTIONS, FUNCTIONS))
    if listener == FUNCTIONS:
        return _function(chance, chance.random() < harm)
    body = _body(chance)
    if listener == CALM:
        return Request(listener, "none", None, None, body, frozenset({200}), expected=body)
    if chance.random() < harm:
        return _harmful(chance, listener, body)
    # Its instance may be one that others break, and its loop one that others keep from turning.
    return Request(
        listener, "none", None, None, body, frozenset({200, 503, 504}), True, expected=body
    )


def _harmful(chance: random.Random, listener: str, body: bytes) -> Request:
    kind = chance.choice((*_FATAL, "spin", "spin", "pause", "inject", "list", "call"))
    statuses, cut, expected = {503}, False, None
    place = chance.choice(_BEFORE)
    if kind in _FATAL:
        place = chance.choice((*_BEFORE, "response_body"))
        cut = place == "response_body"
    elif kind == "spin":
        statuses = {503, 504}
    elif kind == "pause":
        # A body that comes in pieces goes on with the next one.
        statuses, cut = ({200, 503, 504}, True) if "body" in place else ({503, 504}, False)
    elif kind == "list":
        statuses, place, cut = {200, 503, 504}, "request_headers", True
    else:
        statuses, cut, expected = {200, 503, 504}, True, body
        place = "request_headers"
    fault = f"{kind} in {place}"
    if kind != "list":
        # A stream that is older than the instance's end fails with it, in whatever it does.
        statuses.add(504)
    order = f"{kind} {place}"
    return Request(listener, fault, order, None, body, frozenset(statuses), cut, expected)


def _function(chance: random.Random, harmful: bool) -> Request:
    if not harmful:
        body = _body(chance)
        return Request(FUNCTIONS, "none", None, "calm", body, frozenset({200}), expected=body)
    kind = chance.choice((*_FATAL, "spin", "inject", "state", "state", "nested", "nested spin"))
    if kind == "state":
        # 502 while Redis is away, 204 before it has its key again.
        allowed = frozenset({200, 204, 502})
        return Request(FUNCTIONS, kind, None, "calm", b"state", allowed, expected=b"value")
    if kind == "nested":
        allowed = frozenset({200, 502, 503, 504, 500})
        return Request(FUNCTIONS, kind, None, "hostile", b"nested", allowed, expected=b"echo")
    if kind == "nested spin":
        allowed = frozenset({502, 503, 504})
        return Request(FUNCTIONS, kind, None, "hostile", b"nested spin", allowed)
    place = chance.choice(("request_headers", "request_body", "response_headers"))
    order = f"{kind} {place}"
    body = _body(chance)
    allowed = frozenset({500, 503})
    if kind == "spin":
        allowed = frozenset({503, 504})
    elif kind == "inject":
        allowed = frozenset({200, 503})
    fault = f"function: {kind} in {place}"
    return Request(FUNCTIONS, fault, order, "hostile", body, allowed)
