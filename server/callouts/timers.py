"""Timers on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from anywasm.server.callouts.loop import on_loop, soon


class LoopTimers:
    """`Timers` (`anywasm.abi.calls`) that call back on the loop's thread.

    Args:
        loop: The loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call_later(self, seconds: float, callback: Callable[[], None]) -> LoopTimer:
        """Call `callback` once on the loop, after `seconds`; from any thread."""
        timer = LoopTimer(self._loop, callback)
        if on_loop(self._loop):
            timer.arm(seconds)
        else:
            soon(self._loop, lambda: timer.arm(seconds))
        return timer


class LoopTimer:
    """A timer of `LoopTimers`."""

    __slots__ = ("_callback", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        # None once it was cancelled or has called: the one thing that both threads look at.
        self._callback: Callable[[], None] | None = callback
        self._handle: asyncio.TimerHandle | None = None

    def arm(self, seconds: float) -> None:
        """Let `LoopTimers` start it, on the loop."""
        if self._callback is not None:
            self._handle = self._loop.call_later(seconds, self._due)

    def cancel(self) -> None:
        """Call nothing any more; from any thread."""
        if self._callback is None:
            return
        self._callback = None
        if on_loop(self._loop):
            self._release()
        else:
            soon(self._loop, self._release)

    def _release(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _due(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()
