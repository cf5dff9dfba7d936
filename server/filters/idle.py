"""Streams on which nothing happens any more."""

from __future__ import annotations

import asyncio
import math
from typing import Final, Protocol

#: Seconds between two looks at all streams, at most.
_LONGEST: Final = 1.0


class IdleStream(Protocol):
    """What is watched.

    Attributes:
        active: The watch's `tick` when something happened last; the stream sets it.
    """

    active: int

    def idle(self) -> None:
        """Nothing has happened for too long."""


class IdleWatch:
    """Looks at all streams of a listener from time to time; belongs to one event loop.

    An event costs its stream one assignment; there is one timer, and none without streams.

    Args:
        loop: The event loop.
        timeout: Seconds without an event, exact to a quarter or to one second.

    Attributes:
        timeout: As given.
        tick: Counts the looks.
    """

    __slots__ = ("_interval", "_limit", "_loop", "_streams", "_timer", "tick", "timeout")

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        self.timeout = timeout
        self._interval = min(_LONGEST, timeout / 4)
        self._limit = math.ceil(timeout / self._interval)
        self._streams: set[IdleStream] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.tick = 0

    def add(self, stream: IdleStream) -> None:
        """Watch a stream until `discard`."""
        stream.active = self.tick
        self._streams.add(stream)
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval, self._look)

    def discard(self, stream: IdleStream) -> None:
        """Watch it no more."""
        self._streams.discard(stream)

    def _look(self) -> None:
        self.tick += 1
        self._timer = None
        if self._streams:
            self._timer = self._loop.call_later(self._interval, self._look)
        oldest = self.tick - self._limit
        for stream in [stream for stream in self._streams if stream.active < oldest]:
            stream.idle()
