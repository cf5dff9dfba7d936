"""What a pool counts."""

from __future__ import annotations


class UpstreamCounters:
    """Totals since the pool was made: plain ints, written on the event loop.

    Attributes:
        requests: Requests asked for.
        connects: Connections made.
        connect_failures: Attempts that failed or timed out, one for each endpoint tried.
        reused: Requests that began on a connection used before.
        retries: Requests begun anew because a reused connection turned out closed.
        overflows: Requests refused because too many were waiting.
        failures: Streams that ended without a complete response, other than by the caller's reset.
    """

    __slots__ = (
        "connect_failures",
        "connects",
        "failures",
        "overflows",
        "requests",
        "retries",
        "reused",
    )

    def __init__(self) -> None:
        self.requests = 0
        self.connects = 0
        self.connect_failures = 0
        self.reused = 0
        self.retries = 0
        self.overflows = 0
        self.failures = 0
