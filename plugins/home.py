"""Where a guest's code runs: in the caller's thread, or in one thread that it never leaves."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from anywasm.core.errors import ClosedError

T = TypeVar("T")


class Home(ABC):
    """Runs jobs for one guest."""

    @abstractmethod
    def run(self, job: Callable[[], T]) -> T:
        """Run `job` where the guest lives, and wait for it; its exception comes out as itself."""

    @abstractmethod
    def post(self, job: Callable[[], None]) -> None:
        """Run `job` where the guest lives, now or soon, without waiting for it; from any thread."""

    @abstractmethod
    def close(self) -> None:
        """Run nothing more. Idempotent."""


class AnyThread(Home):
    """The caller's thread, for guests that may be used by any."""

    def run(self, job: Callable[[], T]) -> T:
        """Run `job` here."""
        return job()

    def post(self, job: Callable[[], None]) -> None:
        """Run `job` here."""
        job()

    def close(self) -> None:
        """Nothing to free."""


class OwnThread(Home):
    """One thread per guest, for engines with `capabilities.thread_bound`."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], T]) -> T:
        """Run `job` in the guest's thread; called from that thread it runs at once.

        Raises:
            ClosedError: After `close`.
        """
        if threading.current_thread() is self._thread:
            return job()
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise ClosedError("the guest's thread has ended")
            self._jobs.put((job, future))
        return future.result()

    def post(self, job: Callable[[], None]) -> None:
        """Run `job` in the guest's thread, after what it does now."""
        with self._lock:
            if not self._closed:
                self._jobs.put((job, Future()))

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                future.set_result(job())
            except BaseException as error:  # it belongs to whoever waits
                future.set_exception(error)
            # Neither a result nor a guest may live on until the next job comes.
            del item, job, future

    def close(self) -> None:
        """End the thread once the jobs that were given are done."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()
