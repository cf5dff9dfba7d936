"""Key-value data that guests of one `vm_id` share (proxy-wasm spec, "Shared Key-Value Store")."""

from __future__ import annotations

import math
import threading
from collections import Counter

from anywasm.abi.enums import Status

#: Bytes of all keys and values of one `vm_id`, by default.
MAX_BYTES = 64 * 1024 * 1024
#: Bytes that each key is counted for beside its own, so that many empty ones are bounded too.
KEY_COST = 128


class SharedData:
    """The data of all VMs of a process. Thread-safe.

    Every write takes a new compare-and-swap number from one counter, so that no number ever comes
    again for a key. As in Envoy a key can be emptied but not deleted.

    Args:
        max_bytes: What one `vm_id` may store.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._data: dict[str, dict[bytes, tuple[bytes, int]]] = {}
        self._sizes: dict[str, int] = {}
        self._next_cas = 1
        self._holders: Counter[str] = Counter()

    def get(self, vm_id: str, key: bytes, deadline: float = math.inf) -> tuple[bytes, int] | None:
        """The value and its number, or None where the key was never set."""
        with self._lock:
            return self._data.get(vm_id, {}).get(key)

    def set(
        self, vm_id: str, key: bytes, value: bytes, cas: int, deadline: float = math.inf
    ) -> Status:
        """Write a value.

        Args:
            vm_id: Whose data.
            key: The key.
            value: The value.
            cas: The number that was read with the value to replace; 0 replaces any. A key that
                does not exist takes any number (recorded in the golden case `edge-shared`).
            deadline: Nothing here waits.

        Returns:
            OK; CAS_MISMATCH when somebody else has written; INTERNAL_FAILURE past the limit.
        """
        with self._lock:
            data = self._data.setdefault(vm_id, {})
            old = data.get(key)
            if cas and old is not None and old[1] != cas:
                return Status.CAS_MISMATCH
            before = 0 if old is None else KEY_COST + len(key) + len(old[0])
            size = self._sizes.get(vm_id, 0) - before + KEY_COST + len(key) + len(value)
            if size > self._max_bytes:
                return Status.INTERNAL_FAILURE
            self._sizes[vm_id] = size
            data[key] = (value, self._next_cas)
            self._next_cas = (self._next_cas + 1) & 0xFFFFFFFF or 1
            return Status.OK

    def hold(self, vm_id: str) -> None:
        """Keep what is of a `vm_id` until `release` was called as often."""
        with self._lock:
            self._holders[vm_id] += 1

    def release(self, vm_id: str) -> None:
        """Forget what is of a `vm_id` whose last VM has gone."""
        with self._lock:
            self._holders[vm_id] -= 1
            if self._holders[vm_id] > 0:
                return
            del self._holders[vm_id]
            self._data.pop(vm_id, None)
            self._sizes.pop(vm_id, None)
