"""A home on the event loop's own thread, where filters are called without a hop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from anywasm.plugins.home import Home

T = TypeVar("T")


class LoopHome(Home):
    """Runs jobs on the event loop. Made on the loop; one may serve many guests."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def run(self, job: Callable[[], T]) -> T:
        """Run `job` on the loop; from another thread, wait for it."""
        if threading.get_ident() == self._thread:
            return job()
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(job())
            except BaseException as error:  # it belongs to whoever waits
                future.set_exception(error)

        self._loop.call_soon_threadsafe(work)
        return future.result()

    def post(self, job: Callable[[], None]) -> None:
        """Run `job` now where this is the loop's thread, else soon."""
        if threading.get_ident() == self._thread:
            job()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(job)

    def close(self) -> None:
        """Nothing to free: the loop outlives its guests."""
