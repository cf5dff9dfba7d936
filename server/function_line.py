"""Requests for one plugin's functions, in line for the threads that call them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from anywasm.plugins.function import FunctionRequest, FunctionStream
from anywasm.plugins.pool import STOOD_STILL
from anywasm.server.http import HttpExchange

#: After so many requests a thread makes room for other plugins' lines, which may wait for it.
_TURN = 64


@dataclass(eq=False, slots=True)
class Errand:
    """One request on its way.

    Attributes:
        exchange: Whom to answer; for the loop.
        id: The function's.
        request: What it gets.
        began: The `time.perf_counter` second in which the request was here.
        since: The `time.monotonic` second from which its timeouts count.
    """

    exchange: HttpExchange
    id: str
    request: FunctionRequest
    began: float
    since: float


class FunctionLine:
    """Has at most as many threads as the plugin has instances, since more would only wait.

    A thread that has finished takes the next errand without anybody being woken for it. Errands are
    added on the loop.

    Args:
        version: The plugin's.
        executor: Where threads come from.
        call: Calls the function, in a thread; a stream where the guest has paused.
        wait: Waits for a paused guest's answer, in a thread that no longer counts here.
    """

    def __init__(
        self,
        version: int,
        executor: Executor,
        call: Callable[[Errand], FunctionStream | None],
        wait: Callable[[Errand, FunctionStream], None],
    ) -> None:
        self.version = version
        self._executor = executor
        self._call = call
        self._wait = wait
        self._lock = threading.Lock()
        self._waiting: deque[Errand] = deque()
        self._threads = 0
        self._size = 0
        self._watched = False

    def add(self, errand: Errand, size: int) -> None:
        """Have an errand done, by one of at most `size` threads."""
        with self._lock:
            self._waiting.append(errand)
            self._size = size
            starts = self._starts()
        if starts:
            self._executor.submit(self._work)

    def watch(self, patience: float, late: Callable[[FunctionLine, Errand], None]) -> None:
        """Give up errands that nobody has begun after `patience` seconds; on the loop, with `late`.

        Watches until the line is empty.
        """
        if self._watched or not self._waiting:
            return
        self._watched = True
        loop = asyncio.get_running_loop()

        def look() -> None:
            self._watched = False
            self._forgive(time.monotonic() - due)
            expired = self._leave(time.monotonic() - patience)
            self.watch(patience, late)
            for errand in expired:
                late(self, errand)

        with self._lock:
            since = self._waiting[0].since if self._waiting else time.monotonic()
        now = time.monotonic()
        due = max(now + 0.001, since + patience)
        loop.call_later(due - now, look)

    def _forgive(self, late: float) -> None:
        """Add to everybody's patience where the loop stood still, and perhaps the whole process.

        An engine may compile with Python's lock held; who waited then was kept by no other request.
        """
        if late < STOOD_STILL:
            return
        now = time.monotonic()
        with self._lock:
            for errand in self._waiting:
                # What was lost, and as long again for what could not be done in it.
                errand.since = min(errand.since + 2 * late, now)

    def clear(self) -> list[Errand]:
        """Take out all errands that nobody has begun."""
        return self._leave(float("inf"))

    def _leave(self, before: float) -> list[Errand]:
        found = []
        with self._lock:
            while self._waiting and self._waiting[0].since <= before:
                found.append(self._waiting.popleft())
        return found

    def _starts(self) -> bool:
        """Whether to start a thread, which counts from now on. Under the lock."""
        if not self._waiting or self._threads >= self._size:
            return False
        self._threads += 1
        return True

    def _work(self) -> None:
        for _ in range(_TURN):
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                errand = self._waiting.popleft()
            stream = self._call(errand)
            if stream is not None:
                self._go_on()
                self._wait(errand, stream)
                return
        self._go_on()

    def _go_on(self) -> None:
        """End this thread's work here; another one takes its place where there is more."""
        with self._lock:
            self._threads -= 1
            starts = self._starts()
        if starts:
            self._executor.submit(self._work)
