"""What holds the data and queues that guests share: this process, or something behind it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from anywasm.abi.enums import Status

#: Told about each new item of a queue; must be quick.
Notify = Callable[[int], None]


class SharedDataStore(Protocol):
    """Key-value data by `vm_id` (proxy-wasm spec, "Shared Key-Value Store"). Thread-safe.

    What is reached over a network may wait until `deadline`, a `time.monotonic` second. When it
    cannot be reached in time, everything returns INTERNAL_FAILURE.
    """

    def get(self, vm_id: str, key: bytes, deadline: float) -> tuple[bytes, int] | Status | None:
        """The value and its compare-and-swap number, or None where the key was never set."""

    def set(self, vm_id: str, key: bytes, value: bytes, cas: int, deadline: float) -> Status:
        """Write a value, if `cas` is 0, its number, or there is none; every write takes a new one.

        Returns:
            OK; CAS_MISMATCH when somebody else has written; INTERNAL_FAILURE past the limit.
        """

    def hold(self, vm_id: str) -> None:
        """Keep the data of a `vm_id` until `release` was called as often."""

    def release(self, vm_id: str) -> None:
        """Let the data of a `vm_id` go with its last VM, as Envoy does; not what others share."""


class SharedQueueStore(Protocol):
    """Queues by `vm_id` and name (proxy-wasm spec, "Shared Queues"). Thread-safe; may wait alike.

    A token means the same queue to all that share the store.
    """

    def register(self, vm_id: str, name: bytes, notify: Notify, deadline: float) -> int | Status:
        """The token of a queue, made if need be; the last to register is the one that is told."""

    def forget(self, notify: Notify) -> None:
        """Tell `notify` nothing more; its queues and their items stay. Never waits."""

    def resolve(self, vm_id: str, name: bytes, deadline: float) -> int | Status | None:
        """The token of a queue that somebody registered, or None."""

    def enqueue(self, token: int, item: bytes, deadline: float) -> Status:
        """Append an item and tell the queue's owner: OK, NOT_FOUND, or INTERNAL_FAILURE if full."""

    def dequeue(self, token: int, deadline: float) -> bytes | Status:
        """The oldest item; EMPTY where there is none, NOT_FOUND for an unknown token."""

    def hold(self, vm_id: str) -> None:
        """Keep the queues of a `vm_id` until `release` was called as often."""

    def release(self, vm_id: str) -> None:
        """Let the queues of a `vm_id` go with its last VM, as Envoy does; not what others share."""
