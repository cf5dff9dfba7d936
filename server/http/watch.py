"""When a connection has taken too long, judged from time to time instead of by timers."""

from __future__ import annotations

from enum import Enum

from anywasm.server.http.limits import HttpLimits


class Phase(Enum):
    """What a connection is waiting for."""

    #: The first byte of a request.
    IDLE = "idle"
    #: The rest of a request head.
    HEADER = "header"
    #: The rest of a body that the handler is ready to take.
    BODY = "body"
    #: The handler, which has no time limit here.
    HANDLER = "handler"
    #: The client, to read what was sent.
    WRITE = "write"
    #: The client, to close.
    LINGER = "linger"


class Watch:
    """One connection's clock. Its times are exact to one `HttpLimits.sweep_interval`."""

    __slots__ = ("_allowed", "_flushed", "_phase", "_since")

    def __init__(self, limits: HttpLimits) -> None:
        self._allowed = {
            Phase.IDLE: limits.idle_timeout,
            Phase.HEADER: limits.header_timeout,
            Phase.BODY: limits.body_timeout,
            Phase.HANDLER: float("inf"),
            Phase.WRITE: limits.write_timeout,
            Phase.LINGER: limits.linger_timeout,
        }
        self._phase: Phase | None = None
        self._since = 0.0
        self._flushed = 0

    def overdue(
        self, now: float, phase: Phase, *, received: bool, answered: bool, flushed: int
    ) -> bool:
        """Tell whether the present phase has lasted too long.

        Args:
            now: The loop's time, in seconds.
            phase: The present phase.
            received: The client has sent something since the last call. A header is not helped
                by that: it must come as a whole in its time.
            answered: An exchange has ended since the last call.
            flushed: Bytes that the client's side has taken so far.
        """
        if phase is Phase.WRITE:
            progress = flushed != self._flushed
        elif phase is Phase.LINGER:
            progress = False
        else:
            progress = answered or (received and phase is not Phase.HEADER)
        self._flushed = flushed
        if progress or phase is not self._phase:
            self._phase = phase
            self._since = now
            return False
        return now - self._since > self._allowed[phase]
