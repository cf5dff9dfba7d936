"""Where a guest's code runs: in the caller's thread, or in one thread that it never leaves."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Home(ABC):
    """Runs jobs for one guest."""

    @abstractmethod
    def run(self, job: Callable[[], T]) -> T:
        """Run `job` where the guest lives, and wait for it; its exception comes out as itself."""

    @abstractmethod
    def close(self) -> None:
        """Run nothing more. Idempotent."""


class AnyThread(Home):
    """The caller's thread, for guests that may be used by any."""

    def run(self, job: Callable[[], T]) -> T:
        """Run `job` here."""
        return job()

    def close(self) -> None:
        """Nothing to free."""


class OwnThread(Home):
    """One thread per guest, for engines with `capabilities.thread_bound`."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], T]) -> T:
        """Run `job` in the guest's thread; called from that thread it runs at once."""
        if threading.current_thread() is self._thread:
            return job()
        future: Future[T] = Future()
        self._jobs.put((job, future))
        return future.result()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                result = job()
            except BaseException as error:  # it belongs to whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)
            # Neither a result nor a guest may live on until the next job comes.
            del item, job, future

    def close(self) -> None:
        """End the thread once the jobs that were given are done."""
        self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()
