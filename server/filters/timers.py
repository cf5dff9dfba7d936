"""What ends a stream that takes too long: its route's timeout, also for filters that hold it up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain

#: Seconds after which a stream that nobody resumes ends, where it has no route.
_NO_ROUTE_TIMEOUT: Final = 15.0


class StreamTimers:
    """The timers of one stream. A stream that is answered at once has none.

    Args:
        chain: The stream.
        loop: The event loop.
    """

    _timeout: asyncio.TimerHandle | None = None
    _pause: asyncio.TimerHandle | None = None
    _paused: set[object] | None = None

    def __init__(self, chain: FilterChain, loop: asyncio.AbstractEventLoop) -> None:
        self._chain = chain
        self._loop = loop

    def arm(self, seconds: float | None, expired: Callable[[], None] | None = None) -> None:
        """End the stream with `expired` after so long, pauses included; None for not at all."""
        self.cancel()
        if seconds is not None and expired is not None and not self._chain.finished:
            self._timeout = self._loop.call_later(seconds, self._expire, expired)

    def paused(self, half: object) -> None:
        """A filter holds something up. Where no timeout runs yet one begins, or begins anew."""
        if self._chain.finished:
            return
        if self._paused is None:
            self._paused = set()
        self._paused.add(half)
        if self._timeout is not None:
            return
        route = self._chain.route
        seconds = _NO_ROUTE_TIMEOUT if route is None else route.timeout
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if seconds is not None:
            self._pause = self._loop.call_later(seconds, self._expire, self._chain.pause_expired)

    def resumed(self, half: object) -> None:
        """It does not hold it up any more."""
        if self._paused is not None:
            self._paused.discard(half)
            if not self._paused and self._pause is not None:
                self._pause.cancel()
                self._pause = None

    def cancel(self) -> None:
        """Stop all of them."""
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _expire(self, expired: Callable[[], None]) -> None:
        self.cancel()
        if not self._chain.finished:
            expired()
            self._chain.flush()
