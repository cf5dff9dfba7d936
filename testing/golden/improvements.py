"""Where this project must answer better than Envoy did."""

from __future__ import annotations

from anywasm.testing.golden.case import Answer, Case, Step

_STUCK = "edge-loop"
_ENDED = Answer(status=504)
_DIRECT = Answer(status=200, headers=(("content-type", "text/plain"),), body="direct ok\n")


def loops(case: Case) -> bool:
    """Whether a guest of this case never returns: only an engine that can interrupt may run it."""
    return case.id.startswith(_STUCK)


def expected(case: Case, step: Step) -> Answer:
    """What this host has to answer: what Envoy did, but where Envoy hung for good.

    A guest that never returns is ended by its deadline with 504, and the host serves on.
    """
    if not loops(case) or step.expect.error is None:
        return step.expect
    return _DIRECT if step.request.path.startswith("/direct") else _ENDED
