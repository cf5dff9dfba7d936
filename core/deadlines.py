"""The clock tick that lets an engine notice, inside guest code, that a deadline has passed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Seconds between two ticks: how late, at most, a running guest notices its deadline.
TICK = 0.005
#: Seconds without any deadline after which the ticking thread goes to sleep.
IDLE = 1.0


class Ticker:
    """Calls `tick` every `TICK` seconds while deadlines are in use, in one daemon thread.

    One ticker serves all instances of an engine, so that setting a deadline costs a few attribute
    writes and no thread. The thread is started by the first `arm`, and sleeps once nobody has armed
    it for `IDLE` seconds.

    Args:
        name: The thread's name.
        tick: Called in the ticking thread; must be quick and must not raise.
    """

    def __init__(self, name: str, tick: Callable[[], None]) -> None:
        self._name = name
        self._tick = tick
        self._wanted_until = 0.0
        self._ticking = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def arm(self, until: float) -> None:
        """Keep ticking until the `time.monotonic` second `until` and `IDLE` beyond. Thread-safe."""
        if until > self._wanted_until:
            self._wanted_until = until
        if not self._ticking:
            self._start()

    def _start(self) -> None:
        with self._changed:
            if self._closed:
                return
            self._ticking = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        sleep, monotonic = time.sleep, time.monotonic
        while True:
            while monotonic() < self._wanted_until + IDLE and not self._closed:
                sleep(TICK)
                self._tick()
            with self._changed:
                if self._closed:
                    return
                # Whoever arms it from here on wakes it; who did just before is seen in the end.
                self._ticking = False
                while (
                    not self._ticking
                    and not self._closed
                    and monotonic() >= self._wanted_until + IDLE
                ):
                    self._changed.wait()
                self._ticking = True

    def close(self) -> None:
        """End the thread. Idempotent; returns once the thread will tick no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
