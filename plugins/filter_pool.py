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
            after growing pauses; `fail_closed`: every stream fails until the plugin is reloaded;
            `fail_open`: streams pass without the filter until then. An instance that only took too
            long is replaced under `fail_closed`, too: Envoy, which has no deadline, has no rule.
        backoff: The first and the longest pause, in seconds.

    Attributes:
        replaced: How many instances were made in the place of broken ones.
        last_failure: What broke the last one, or None.
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
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._slots: list[Slot] = []
        self._closed = False
        self._failures = 0
        self._made_at = 0.0
        self._retry_at = 0.0
        self._stuck = False
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
        """The instances that exist now, broken ones that still have streams among them."""
        with self._lock:
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
        slot, healthy = self._take()
        if healthy:
            return slot
        self._sort_out()
        if self._working() < self._size and self._replace(needed=slot is None) and slot is None:
            slot = self._take()[0]
        return slot

    def _take(self) -> tuple[Slot | None, bool]:
        """The working instance with the fewest streams, with one more, and whether all is well."""
        with self._lock:
            if self._closed:
                raise PoolClosedError(f"plugin {self._plugin!r} was replaced or removed")
            best: Slot | None = None
            working = 0
            noted = True
            for slot in self._slots:
                if slot.guest.failed is not None:
                    noted = noted and slot.noted
                    continue
                working += 1
                if best is None or slot.streams < best.streams:
                    best = slot
            if best is not None:
                best.streams += 1
            return best, noted and working >= self._size

    def _sort_out(self) -> None:
        """Drop broken instances that serve no stream any more, and note that they broke."""
        with self._lock:
            broken = [slot for slot in self._slots if slot.guest.failed is not None]
            for slot in broken:
                if not slot.noted:
                    slot.noted = True
                    self._stuck = isinstance(slot.guest.failed, DeadlineExceededError)
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
            # More doublings than this only overflow.
            pause = first * 2 ** min(self._failures - 2, 64)
            pause = min(longest, pause) * random.uniform(0.8, 1.2)
        self._retry_at = now + pause

    def _replace(self, needed: bool) -> bool:
        """Make an instance if the policy and the time allow it; whether it was made."""
        if self._policy == "fail_open":
            return False
        if self._policy == "fail_closed" and not self._stuck:
            if needed:
                raise FilterFailedError(f"filter {self._plugin!r} has failed: {self.last_failure}")
            return False
        left = self._retry_at - time.monotonic()
        if left > 0:
            if needed:
                raise FilterFailedError(
                    f"filter {self._plugin!r} has failed: {self.last_failure}; "
                    f"it is started again in {left:.1f} s"
                )
            return False
        try:
            slot = self._make()
        except AnyWasmError as error:
            self._note_failure(str(error))
            _log.error("filter %s: cannot replace a broken instance: %s", self._plugin, error)
            if needed:
                raise FilterFailedError(f"filter {self._plugin!r} cannot start: {error}") from error
            return False
        self._made_at = time.monotonic()
        self.replaced += 1
        return self._add(slot)

    def _add(self, slot: Slot) -> bool:
        with self._lock:
            if not self._closed:
                self._slots.append(slot)
                return True
        self._close_quietly(slot)
        return False

    def unbind(self, slot: Slot) -> None:
        """Note that a stream has ended."""
        with self._lock:
            slot.streams -= 1
            if slot.streams or slot not in self._slots:
                return
            # A broken one that nobody has noted yet goes when the next stream comes.
            broken = slot.guest.failed is not None
            surplus = slot.noted if broken else self._working() > self._size
            surplus = surplus or self._closed
            if surplus:
                self._slots.remove(slot)
                self._changed.notify_all()
        if surplus:
            self._close_quietly(slot)

    def _working(self) -> int:
        return sum(slot.guest.failed is None for slot in self._slots)

    def resize(self, size: int) -> None:
        """Change the number of instances; surplus ones go once their streams have ended.

        Raises:
            AnyWasmError: When an instance cannot be made; the pool keeps what it has.
        """
        with self._lock:
            working = [slot for slot in self._slots if slot.guest.failed is None]
            spare = [slot for slot in working if not slot.streams]
            surplus = spare[: max(0, len(working) - size)]
            self._slots = [slot for slot in self._slots if slot not in surplus]
            kept = len(working) - len(surplus)
            # From here on no stream's end takes one away that is kept, and no stream makes one.
            before = self._size
            self._size = min(size, kept) or before
        for slot in surplus:
            self._close_quietly(slot)
        made: list[Slot] = []
        try:
            while kept + len(made) < size:
                made.append(self._make())
        except BaseException:
            self._size = before
            for slot in made:
                self._close_quietly(slot)
            raise
        with self._lock:
            self._size = size
            if not self._closed:
                self._slots += made
                return
        for slot in made:
            self._close_quietly(slot)

    def close(self, drain: float) -> bool:
        """Bind no new streams, and free every instance once its streams have ended.

        Returns:
            Whether all ended within `drain` seconds; the others keep theirs until they do.
        """
        with self._lock:
            self._closed = True
            self._changed.wait_for(
                lambda: all(not slot.streams for slot in self._slots), max(0.0, drain)
            )
            free = [slot for slot in self._slots if not slot.streams]
            self._slots = [slot for slot in self._slots if slot.streams]
            left = len(self._slots)
        for slot in free:
            self._close_quietly(slot)
        return not left

    def _close_quietly(self, slot: Slot) -> None:
        try:
            slot.close()
        except AnyWasmError as error:
            _log.error("filter %s: closing an instance failed: %s", self._plugin, error)
