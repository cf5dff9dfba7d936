"""Getting from any thread onto the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


def on_loop(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the calling thread is the one that runs `loop` now."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def soon(loop: asyncio.AbstractEventLoop, job: Callable[[], None]) -> None:
    """Run `job` on `loop`, after the running callback; from any thread.

    Jobs of one thread keep their order. Once the loop is closed, nothing happens: the server is
    gone, and so is whoever would hear of the outcome.
    """
    if on_loop(loop):
        loop.call_soon(job)
        return
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(job)
