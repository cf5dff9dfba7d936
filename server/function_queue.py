"""Calls on the event loop that wait for an instance of a plugin."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from anywasm.plugins.pool import STOOD_STILL


class Waiting(Protocol):
    """What waits.

    Attributes:
        since: The `time.monotonic` second in which it began to.
        until: The one in which it gives up.
    """

    since: float
    until: float


W = TypeVar("W", bound=Waiting)


class FunctionQueue(Generic[W]):
    """Who waits longest is first. For one loop, but `freed` may be called by any thread.

    Args:
        serve: Called on the loop after `freed`, to take out whoever can be served.
        late: Told about each that gave up.
        name: The plugin's name.
    """

    def __init__(
        self, serve: Callable[[FunctionQueue[W]], None], late: Callable[[W], None], name: str
    ) -> None:
        self.name = name
        self._serve = serve
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._waiting: deque[W] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._freed = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> W:
        """Who waits longest."""
        return self._waiting[0]

    def pop(self) -> W:
        """Take out who waits longest."""
        return self._waiting.popleft()

    def add(self, waiting: W) -> None:
        """Put somebody at the end."""
        self._waiting.append(waiting)
        self._watch(waiting.until)

    def freed(self) -> None:
        """An instance may have become free: look, soon."""
        if threading.get_ident() == self._thread:
            # Not now: the pool is in the middle of giving it back. Whoever does that asks.
            self._freed = True
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._serve, self)

    def take_freed(self) -> bool:
        """Whether `freed` was called in the loop's own thread; once."""
        freed, self._freed = self._freed, False
        return freed

    def _watch(self, until: float) -> None:
        if self._timer is not None:
            if self._due <= until:
                return
            self._timer.cancel()
        now = time.monotonic()
        self._due = max(now + 0.001, until)
        self._timer = self._loop.call_later(self._due - now, self._look)

    def _look(self) -> None:
        self._timer = None
        now = time.monotonic()
        stood_still = now - self._due
        if stood_still >= STOOD_STILL:
            # The loop, and perhaps the process, stood still: what was lost, and as long again for
            # what could not be done in it. An engine may compile with Python's lock held.
            for waiting in self._waiting:
                waiting.until += min(2 * stood_still, now - waiting.since)
        late = [waiting for waiting in self._waiting if waiting.until <= now]
        if late:
            self._waiting = deque(waiting for waiting in self._waiting if waiting.until > now)
        if self._waiting:
            self._watch(min(waiting.until for waiting in self._waiting))
        for waiting in late:
            self._late(waiting)
