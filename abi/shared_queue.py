"""Queues between guests, found by `vm_id` and name (proxy-wasm spec, "Shared Queues")."""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from dataclasses import dataclass, field

from anywasm.abi.enums import Status
from anywasm.abi.shared_state import Notify

#: Items and bytes that one queue holds, by default.
MAX_ITEMS = 65536
MAX_BYTES = 16 * 1024 * 1024
#: Queues that there are, the bytes of a queue's name, and the bytes that all queues hold.
MAX_QUEUES = 4096
MAX_NAME = 4096
MAX_TOTAL_BYTES = 256 * 1024 * 1024


@dataclass(eq=False, slots=True)
class _Queue:
    notify: Notify
    items: deque[bytes] = field(default_factory=deque)
    size: int = 0


class SharedQueues:
    """The queues of a process. Thread-safe.

    Args:
        max_items: Items that one queue holds.
        max_bytes: Bytes that one queue holds.
    """

    def __init__(self, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._queues: dict[int, _Queue] = {}
        self._tokens: dict[tuple[str, bytes], int] = {}
        self._size = 0
        self._next_token = 1
        self._holders: Counter[str] = Counter()

    def register(
        self, vm_id: str, name: bytes, notify: Notify, deadline: float = math.inf
    ) -> int | Status:
        """The token of a queue, made if need be; the last to register is the one that is told.

        Returns:
            INTERNAL_FAILURE past `MAX_QUEUES`, or for a name longer than `MAX_NAME`.
        """
        with self._lock:
            token = self._tokens.get((vm_id, name))
            if token is None:
                if len(self._queues) >= MAX_QUEUES or len(name) > MAX_NAME:
                    return Status.INTERNAL_FAILURE
                token = self._tokens[vm_id, name] = self._next_token
                self._next_token += 1
                self._queues[token] = _Queue(notify)
            else:
                self._queues[token].notify = notify
            return token

    def forget(self, notify: Notify) -> None:
        """Tell `notify` nothing more; its queues and their items stay."""
        with self._lock:
            for queue in self._queues.values():
                if queue.notify == notify:  # bound methods are made anew each time
                    queue.notify = _ignore

    def resolve(self, vm_id: str, name: bytes, deadline: float = math.inf) -> int | None:
        """The token of a queue that somebody registered, or None."""
        with self._lock:
            return self._tokens.get((vm_id, name))

    def enqueue(self, token: int, item: bytes, deadline: float = math.inf) -> Status:
        """Append an item and tell the queue's owner.

        Returns:
            OK; NOT_FOUND for an unknown token; INTERNAL_FAILURE when the queue is full, or all
            queues together hold `MAX_TOTAL_BYTES`.
        """
        with self._lock:
            queue = self._queues.get(token)
            if queue is None:
                return Status.NOT_FOUND
            if len(queue.items) >= self._max_items or queue.size + len(item) > self._max_bytes:
                return Status.INTERNAL_FAILURE
            if self._size + len(item) > MAX_TOTAL_BYTES:
                return Status.INTERNAL_FAILURE
            queue.items.append(item)
            queue.size += len(item)
            self._size += len(item)
            notify = queue.notify
        notify(token)
        return Status.OK

    def dequeue(self, token: int, deadline: float = math.inf) -> bytes | Status:
        """The oldest item; EMPTY where there is none, NOT_FOUND for an unknown token."""
        with self._lock:
            queue = self._queues.get(token)
            if queue is None:
                return Status.NOT_FOUND
            if not queue.items:
                return Status.EMPTY
            item = queue.items.popleft()
            queue.size -= len(item)
            self._size -= len(item)
            return item

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
            for owner, name in [key for key in self._tokens if key[0] == vm_id]:
                queue = self._queues.pop(self._tokens.pop((owner, name)))
                self._size -= queue.size


def _ignore(token: int) -> None:
    """Nobody listens to this queue now."""
