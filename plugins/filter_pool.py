"""The instances of one filter: each serves many streams at a time, and is replaced when it breaks.

Filters are called by one thread, the event loop's, so that nothing is leased here: a stream is
bound to an instance for its life, and the loop keeps guest calls apart.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from anywasm.core.errors import AnyWasmError, DeadlineExceededError
from anywasm.plugins.errors import FilterFailedError, FilterStartingError, PoolClosedError
from anywasm.plugins.failures import Circuit, Failure
from anywasm.plugins.slot import Slot

_log: Final = logging.getLogger("anywasm.plugins")

#: Seconds of starting an instance that a stream, and all others on its thread, may be held up by.
#: What takes longer is done in another thread, and the streams that need it wait for it. It is not
#: final because tests set it, at which compiled code would not look again.
CHEAP_START = 0.005


class FilterPool:
    """A fixed number of instances. `bind` and `unbind` belong to one thread, the rest to any.

    What becomes of streams without a working instance, the circuit's policy says. `fail_reload`: a
    broken instance is replaced when the next stream comes, after growing pauses; `fail_closed`:
    every stream fails until the plugin is reloaded; `fail_open`: streams pass without the filter
    until then. An instance that only took too long is replaced under `fail_closed`, too: Envoy,
    which has no deadline, has no rule.

    Args:
        plugin: The plugin's name, for messages.
        make: Makes and starts one instance; may raise any `AnyWasmError`.
        size: How many.
        circuit: Notes what breaks, and says when to try again.
        report: Told about each failure.
        patience: Seconds that a stream waits for an instance that is started in another thread;
            None where it must be started in the one that binds streams.

    Attributes:
        replaced: How many instances were made in the place of broken ones.
    """

    def __init__(
        self,
        plugin: str,
        make: Callable[[], Slot],
        size: int,
        circuit: Circuit | None = None,
        report: Callable[[Failure], None] = lambda failure: None,
        patience: float | None = None,
    ) -> None:
        self._plugin = plugin
        self._make = make
        self._size = size
        self._circuit = circuit or Circuit()
        self._report = report
        self._patience = patience
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._slots: list[Slot] = []
        #: The only instance where one is enough, as it mostly is: it is bound without the lock.
        #: Whoever may take it away takes it from here first, and looks for streams then.
        self._only: Slot | None = None
        self._closed = False
        #: Seconds of the fastest start: others were held up by something else.
        self._start_seconds = float("inf")
        #: What waits for the start that is under way; None while there is none.
        self._waiting: list[Callable[[], None]] | None = None
        self.replaced = 0

    def start(self) -> None:
        """Make all instances.

        Raises:
            AnyWasmError: When one of them cannot be made; none is left then.
        """
        try:
            while len(self._slots) < self._size:
                self._slots.append(self._start_one())
        except BaseException:
            self.close(0.0)
            raise
        with self._lock:
            self._find_only()
        self._circuit.recovered()

    def _start_one(self) -> Slot:
        began = time.perf_counter()
        slot = self._make()
        self._start_seconds = min(self._start_seconds, time.perf_counter() - began)
        return slot

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

    @property
    def circuit(self) -> Circuit:
        """Whether it serves, as of now."""
        self._note_broken()
        return self._circuit

    def bind(self) -> Slot | None:
        """The instance for a new stream: the one with the fewest; None where none is needed.

        Raises:
            FilterStartingError: When there is none yet.
            FilterFailedError: When there is none, under `fail_closed` and `fail_reload`.
            PoolClosedError: After `close`.
        """
        only = self._only
        if only is not None:
            only.streams += 1
            if self._only is only and only.guest.failed is None:
                return only
            self.unbind(only)
        slot, healthy = self._take()
        if healthy:
            return slot
        self._sort_out()
        if self._working() < self._size and self._replace(needed=slot is None) and slot is None:
            slot = self._take()[0]
        if slot is None and self._circuit.policy != "fail_open":
            # Another thread has made one just now, or closed the pool. No stream may pass without.
            return self.bind()
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

    def _note_broken(self) -> None:
        failures: list[Failure] = []
        with self._lock:
            for slot in self._slots:
                error = slot.guest.failed
                if error is None or slot.noted:
                    continue
                slot.noted = True
                failures.append(Failure.of(error, slot.guest.failed_in))
                self._circuit.broke(
                    failures[-1],
                    serving=self._working() > 0,
                    stuck=isinstance(error, DeadlineExceededError),
                )
        for failure in failures:
            self._report(failure)

    def _sort_out(self) -> None:
        """Drop broken instances that serve no stream any more, and note that they broke."""
        self._note_broken()
        with self._lock:
            gone = [s for s in self._slots if s.guest.failed is not None and not s.streams]
            self._slots = [slot for slot in self._slots if slot not in gone]
            self._find_only()
        for slot in gone:
            self._close_quietly(slot)

    def _replace(self, needed: bool) -> bool:
        """Make an instance if the policy and the time allow it; whether it was made."""
        circuit = self._circuit
        if circuit.policy == "fail_open":
            return False
        if not circuit.tries_again or circuit.pause:
            if not needed:
                return False
            why = f"filter {self._plugin!r} has failed: {circuit.last and circuit.last.error}"
            if circuit.tries_again:
                why += f"; it is started again in {circuit.pause:.1f} s"
            raise FilterFailedError(why)
        if self._patience is not None and self._start_seconds > CHEAP_START:
            self._replace_elsewhere()
            if not needed:
                return False
            raise FilterStartingError(
                f"filter {self._plugin!r} has failed and is being started again",
                self._wait,
                self._patience,
            )
        try:
            return self._make_another()
        except AnyWasmError as error:
            if needed:
                raise FilterFailedError(f"filter {self._plugin!r} cannot start: {error}") from error
            return False

    def _make_another(self) -> bool:
        with self._lock:
            self._circuit.trying()
        try:
            slot = self._start_one()
        except AnyWasmError as error:
            failure = Failure.of(error)
            with self._lock:
                self._circuit.broke(failure, serving=self._working() > 0)
            self._report(failure)
            _log.error("filter %s: cannot replace a broken instance: %s", self._plugin, error)
            raise
        with self._lock:
            added = not self._closed
            if added:
                self._slots.append(slot)
                self._find_only()
                self._circuit.recovered()
                self.replaced += 1
        if not added:
            self._close_quietly(slot)
        return added

    def _replace_elsewhere(self) -> None:
        """Make one instance in another thread, unless that is under way."""
        with self._lock:
            if self._waiting is not None or self._closed:
                return
            self._waiting = []
        name = f"anywasm-refill-{self._plugin}"
        threading.Thread(target=self._make_elsewhere, name=name, daemon=True).start()

    def _make_elsewhere(self) -> None:
        try:
            self._make_another()
        except AnyWasmError:
            pass  # it is noted
        finally:
            with self._lock:
                waiting, self._waiting = self._waiting or [], None
                self._changed.notify_all()
            for job in waiting:
                job()

    def _wait(self, job: Callable[[], None]) -> None:
        with self._lock:
            if self._waiting is not None:
                self._waiting.append(job)
                return
        job()

    def unbind(self, slot: Slot) -> None:
        """Note that a stream has ended."""
        slot.streams -= 1
        if slot.streams or (slot is self._only and slot.guest.failed is None):
            return
        with self._lock:
            if slot not in self._slots:
                return
            # A broken one that nobody has noted yet goes when the next stream comes.
            broken = slot.guest.failed is not None
            surplus = slot.noted if broken else self._working() > self._size
            surplus = surplus or self._closed
            if surplus:
                self._slots.remove(slot)
                self._find_only()
                self._changed.notify_all()
        if surplus:
            self._close_quietly(slot)

    def _find_only(self) -> None:
        """Note again which instance is the only one, if it is; the lock is held."""
        alone = len(self._slots) == 1 == self._size and not self._closed
        self._only = self._slots[0] if alone else None

    def _working(self) -> int:
        return sum(slot.guest.failed is None for slot in self._slots)

    def resize(self, size: int) -> None:
        """Change the number of instances; surplus ones go once their streams have ended.

        Raises:
            AnyWasmError: When an instance cannot be made; the pool keeps what it has.
        """
        with self._lock:
            self._only = None
            working = [slot for slot in self._slots if slot.guest.failed is None]
            spare = [slot for slot in working if not slot.streams]
            surplus = spare[: max(0, len(working) - size)]
            self._slots = [slot for slot in self._slots if slot not in surplus]
            kept = len(working) - len(surplus)
            # From here on no stream's end takes one away that is kept, and no stream makes one.
            before = self._size
            self._size = min(size, kept) or before
            self._find_only()
        for slot in surplus:
            self._close_quietly(slot)
        made: list[Slot] = []
        try:
            while kept + len(made) < size:
                made.append(self._start_one())
        except BaseException:
            with self._lock:
                self._size = before
                self._find_only()
            for slot in made:
                self._close_quietly(slot)
            raise
        with self._lock:
            self._size = size
            if not self._closed:
                self._slots += made
                self._find_only()
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
            self._only = None
            self._changed.wait_for(
                lambda: self._waiting is None and all(not slot.streams for slot in self._slots),
                max(0.0, drain),
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
