"""Answers that wait for their guest."""

from __future__ import annotations

import threading


class Inbox:
    """Counts the bytes of what has arrived and was not delivered yet, by call. Thread-safe.

    A guest that is busy, or slower than those that answer, would have its host keep all of it.

    Args:
        most: Bytes that may wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._sizes: dict[int, int] = {}
        self._total = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should be read for the guest now."""
        return self._total > self._most

    def put(self, call: int, size: int) -> bool:
        """Count what arrived for a call; False, and nothing, where that is too much."""
        with self._lock:
            if self._total + size > self._most:
                return False
            self._add(call, size)
            return True

    def put_anyway(self, call: int, size: int) -> None:
        """Count what arrived for a call that is read only while there is room."""
        with self._lock:
            self._add(call, size)

    def _add(self, call: int, size: int) -> None:
        self._sizes[call] = self._sizes.get(call, 0) + size
        self._total += size

    def take(self, call: int, size: int) -> None:
        """Note that so much was delivered."""
        with self._lock:
            if call in self._sizes:
                self._add(call, -size)

    def forget(self, call: int) -> None:
        """Note that nothing more of a call waits."""
        with self._lock:
            self._total -= self._sizes.pop(call, 0)

    def clear(self) -> None:
        """Note that nothing waits at all."""
        with self._lock:
            self._sizes.clear()
            self._total = 0
