"""The instances of one filter: each serves many streams at a time, and is replaced when it breaks.

Filters are called by one thread, the event loop's, so that nothing is leased here: a stream is
bound to an instance for its life, and the loop keeps guest calls apart.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from anywasm.core.errors import AnyWasmError, DeadlineExceededError
from anywasm.plugins.errors import FilterFailedError, PoolClosedError
from anywasm.plugins.pool import Slot

_log = logging.getLogger("anywasm.plugins")


class FilterPool:
    """A fixed number of instances. `bind` and `unbind` belong to one thread, the rest to any.

    Args:
        plugin: The plugin's name, for messages.
        make: Makes and starts one instance; may raise any `AnyWasmError`.
        size: How many.
        failure_policy: `fail_reload`: a broken instance is replaced when the next stream comes,
            after growing pauses; `fail_closed`: every stream fails until the plugin is reloaded,
            but an instance that only took too long is replaced, as Envoy has no deadlines to
            follow; `fail_open`: streams pass without the filter until then.
        backoff: The first and the longest pause, in seconds.
    """

    def __init__(
        self,
        plugin: str,
        make: Callable[[], Slot],
        size: int,
        failure_policy: str,
        backoff: tuple[float, float],
    ) -> None:
        self._plugin = plugin
        self._make = make
        self._size = size
        self._policy = failure_policy
        self._backoff = backoff
        self._changed = threading.Condition()
        self._slots: list[Slot] = []
        self._closed = False
        self._failures = 0
        self._overdue = False
        self._made_at = 0.0
        self._retry_at = 0.0
        self.replaced = 0
        self.last_failure: str | None = None

    def start(self) -> None:
        """Make all instances.

        Raises:
            AnyWasmError: When one of them cannot be made; none is left then.
        """
        try:
            while len(self._slots) < self._size:
                self._slots.append(self._make())
        except BaseException:
            self.close(0.0)
            raise
        self._made_at = time.monotonic()

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The instances that exist now."""
        with self._changed:
            return tuple(self._slots)

    @property
    def size(self) -> int:
        """How many instances there should be."""
        return self._size

    @property
    def idle(self) -> int:
        """How many instances serve no stream."""
        return sum(not slot.streams for slot in self.slots)

    def bind(self) -> Slot | None:
        """The instance for a new stream: the one with the fewest; None where none is needed.

        Raises:
            FilterFailedError: When there is none, under `fail_closed` and `fail_reload`.
            PoolClosedError: After `close`.
        """
        if self._closed:
            raise PoolClosedError(f"plugin {self._plugin!r} was replaced or removed")
        slots = [slot for slot in self._slots if slot.guest.failed is None]
        if len(slots) < len(self._slots):
            self._sort_out()
        if not slots or (len(slots) < self._size and self._policy == "fail_reload"):
            slots += self._replace(needed=not slots)
        if not slots:
            return None
        slot = slots[0] if len(slots) == 1 else min(slots, key=lambda slot: slot.streams)
        slot.streams += 1
        return slot

    def _sort_out(self) -> None:
        """Drop broken instances that serve no stream any more, and note that they broke."""
        with self._changed:
            broken = [slot for slot in self._slots if slot.guest.failed is not None]
            for slot in broken:
                if not slot.noted:
                    slot.noted = True
                    self._overdue = isinstance(slot.guest.failed, DeadlineExceededError)
                    self._note_failure(str(slot.guest.failed))
            gone = [slot for slot in broken if not slot.streams]
            self._slots = [slot for slot in self._slots if slot not in gone]
        for slot in gone:
            self._close_quietly(slot)

    def _note_failure(self, message: str) -> None:
        """An instance that lived long breaks by accident; one that breaks at once, by nature."""
        first, longest = self._backoff
        now = time.monotonic()
        self.last_failure = message
        self._failures = 1 if now - self._made_at > longest else self._failures + 1
        pause = 0.0
        if self._failures > 1:
            pause = min(longest, first * 2 ** (self._failures - 2)) * random.uniform(0.8, 1.2)
        self._retry_at = now + pause

    def _replace(self, needed: bool) -> list[Slot]:
        if self._policy == "fail_open":
            return []
        if self._policy == "fail_closed" and not self._overdue:
            raise FilterFailedError(f"filter {self._plugin!r} has failed: {self.last_failure}")
        if time.monotonic() < self._retry_at:
            if needed:
                left = self._retry_at - time.monotonic()
                raise FilterFailedError(
                    f"filter {self._plugin!r} has failed: {self.last_failure}; "
                    f"it is started again in {left:.1f} s"
                )
            return []
        try:
            slot = self._make()
        except AnyWasmError as error:
            self._note_failure(str(error))
            _log.error("filter %s: cannot replace a broken instance: %s", self._plugin, error)
            if needed:
                raise FilterFailedError(f"filter {self._plugin!r} cannot start: {error}") from error
            return []
        self._made_at = time.monotonic()
        self.replaced += 1
        with self._changed:
            self._slots.append(slot)
        return [slot]

    def unbind(self, slot: Slot) -> None:
        """Note that a stream has ended."""
        slot.streams -= 1
        if slot.streams:
            return
        with self._changed:
            surplus = self._closed or len(self._slots) > self._size
            if surplus and slot in self._slots:
                self._slots.remove(slot)
            else:
                surplus = False
            self._changed.notify_all()
        if surplus:
            self._close_quietly(slot)

    def resize(self, size: int) -> None:
        """Change the number of instances; surplus ones go once their streams have ended.

        Raises:
            AnyWasmError: When an instance cannot be made; the pool keeps what it has.
        """
        with self._changed:
            self._size = size
            spare = [slot for slot in self._slots if not slot.streams]
            surplus = spare[: max(0, len(self._slots) - size)]
            self._slots = [slot for slot in self._slots if slot not in surplus]
        for slot in surplus:
            self._close_quietly(slot)
        while len(self._slots) < size:
            slot = self._make()
            with self._changed:
                self._slots.append(slot)

    def close(self, drain: float) -> bool:
        """Bind no new streams, and free every instance once its streams have ended.

        Returns:
            Whether all ended within `drain` seconds; the others keep theirs until they do.
        """
        with self._changed:
            self._closed = True
            self._changed.wait_for(
                lambda: all(not slot.streams for slot in self._slots), max(0.0, drain)
            )
            free = [slot for slot in self._slots if not slot.streams]
            self._slots = [slot for slot in self._slots if slot.streams]
        for slot in free:
            self._close_quietly(slot)
        return not self._slots

    def _close_quietly(self, slot: Slot) -> None:
        try:
            slot.close()
        except AnyWasmError as error:
            _log.error("filter %s: closing an instance failed: %s", self._plugin, error)
