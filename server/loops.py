"""The event loop of a server process, and how it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

_STOPPING = (signal.SIGTERM, signal.SIGINT)


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end on the best event loop that there is."""
    try:
        import uvloop
    except ImportError:  # there is none for this system; asyncio's own loop serves too
        asyncio.run(main)
    else:
        uvloop.run(main)


def stop_signal(force: Callable[[], None] | None = None) -> asyncio.Event:
    """What is set by SIGTERM or SIGINT. A second one ends the process, as if nothing handled it.

    That tells whoever waits for the process why it ended.

    Args:
        force: Called before the second one ends it. Without this that works while the loop is held
            up, too.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(number: int) -> None:
        assert force is not None
        force()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def stop() -> None:
        stopping.set()
        for number in _STOPPING:
            loop.remove_signal_handler(number)
            if force is None:
                signal.signal(number, signal.SIG_DFL)
            else:
                loop.add_signal_handler(number, end, number)

    for number in _STOPPING:
        loop.add_signal_handler(number, stop)
    return stopping
