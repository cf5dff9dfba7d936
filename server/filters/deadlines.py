"""Deadlines of many streams that are mostly met: one timer for all of the same length."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Late(Protocol):
    """What may be too late."""

    def late(self) -> None:
        """Its time is over."""


class Deadlines:
    """Those who have to be done so many seconds after they began; belongs to one event loop.

    As all have the same time, they expire in the order in which they began. So whoever is done in
    time costs an entry in a dictionary, and no timer of the loop's; the timer is for the oldest
    one, and runs on for the next one when it finds that one gone. Exact as a timer would be.

    Args:
        loop: The event loop.
        seconds: How long each has.
    """

    __slots__ = ("_loop", "_seconds", "_timer", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._when: dict[Late, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, late: Late) -> None:
        """Begin one's time; it is `late` after that, unless it was discarded."""
        self._when[late] = when = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(when, self._look)

    def discard(self, late: Late) -> None:
        """Let one be."""
        self._when.pop(late, None)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        due = []
        for late, when in self._when.items():
            if when > now:
                self._timer = self._loop.call_at(when, self._look)
                break
            due.append(late)
        for late in due:
            if self._when.pop(late, None) is not None:
                late.late()
