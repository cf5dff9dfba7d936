"""The instances of one plugin: leased for one guest call at a time, replaced when they break."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from anywasm.core.errors import AnyWasmError
from anywasm.plugins.errors import FunctionBusyError, PoolClosedError
from anywasm.plugins.failures import Circuit, Failure
from anywasm.plugins.slot import Slot

_log = logging.getLogger("anywasm.plugins")

#: Seconds that an answer or a tick waits for its instance.
POST_WAIT = 30.0
#: Seconds by which a wait ends late when it was not only the scheduler.
STOOD_STILL = 0.05
_posts = ThreadPoolExecutor(4, "anywasm-post")


class InstancePool:
    """A fixed number of instances, made ahead or as they are needed. Thread-safe.

    A free instance is taken before a busy one is waited for, the one used last first, since it is
    warm. Who waits longest is served first. A stream may lease its own instance again after a
    pause, before new streams get it. Broken instances are replaced in the background, with growing
    pauses while that fails.

    Args:
        plugin: The plugin's name, for messages.
        make: Makes and starts one instance; may raise any `AnyWasmError`.
        size: How many.
        circuit: Notes what breaks, and says how long to wait when none can be made.
        report: Told about each failure.
        on_demand: Whether only the first one is made ahead, and each further one in the background
            when somebody finds none free.
    """

    def __init__(
        self,
        plugin: str,
        make: Callable[[], Slot],
        size: int,
        circuit: Circuit | None = None,
        report: Callable[[Failure], None] = lambda failure: None,
        *,
        on_demand: bool = False,
    ) -> None:
        self._plugin = plugin
        self._make = make
        self._report = report
        #: Whether it serves.
        self.circuit = circuit or Circuit()
        self._changed = threading.Condition()
        self._idle: deque[Slot] = deque()
        self._queue: deque[object] = deque()
        self._tells: list[Callable[[], None]] = []
        self._slots: set[Slot] = set()
        self._size = size
        self._on_demand = on_demand
        # How many there should be by now.
        self._wanted = 1 if on_demand else size
        self._closed = False
        self._refilling = False
        self.replaced = 0

    def start(self) -> None:
        """Make the instances that are made ahead.

        Raises:
            AnyWasmError: When one of them cannot be made; none is left then.
        """
        try:
            while len(self._slots) < self._wanted:
                self._add(self._make())
        except BaseException:
            self.close(0.0)
            raise

    def _add(self, slot: Slot) -> None:
        with self._changed:
            if not self._closed and len(self._slots) < self._size:
                self.circuit.recovered()
                self._slots.add(slot)
                self._idle.append(slot)
                self._notify()
                return
        self._close_quietly(slot)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The instances that exist now."""
        with self._changed:
            return tuple(self._slots)

    @property
    def size(self) -> int:
        """How many instances there may be, and are once each was needed."""
        return self._size

    @property
    def idle(self) -> int:
        """How many instances are free."""
        return len(self._idle)

    def try_acquire(self, tell: Callable[[], None] | None = None) -> Slot | None:
        """Lease a free instance, or None when all are busy or others wait. Never waits.

        Args:
            tell: Called once, when there is none, as soon as it is worth trying again; from any
                thread, and under a lock: it must neither wait nor use the pool.

        Raises:
            PoolClosedError: After `close`.
        """
        with self._changed:
            self._check_open()
            slot = None if self._queue else self._take()
            if slot is None and tell is not None:
                self._tells.append(tell)
                if self._free() is None:
                    self._want_another()
            return slot

    def _notify(self) -> None:
        """Wake whoever waits. Under the lock."""
        self._changed.notify_all()
        if self._tells:
            tells, self._tells = self._tells, []
            for tell in tells:
                tell()

    def _check_open(self) -> None:
        if self._closed:
            raise PoolClosedError(f"plugin {self._plugin!r} was replaced or removed")

    def _free(self) -> Slot | None:
        for slot in reversed(self._idle):
            if not slot.wanted:
                return slot
        return None

    def _take(self) -> Slot | None:
        slot = self._free()
        if slot is not None:
            self._idle.remove(slot)
            slot.streams += 1
        return slot

    def acquire(self, deadline: float) -> Slot:
        """Lease a free instance for a new stream, waiting for one if need be.

        Args:
            deadline: The `time.monotonic` second until which to wait.

        Raises:
            FunctionBusyError: When none became free in time.
            PoolClosedError: After `close`.
        """
        with self._changed:
            if not self._queue and not self._closed:
                slot = self._take()
                if slot is not None:
                    return slot
        return self._await(deadline)

    def _await(self, deadline: float) -> Slot:
        ticket = object()

        def ready() -> bool:
            return self._closed or (self._queue[0] is ticket and self._free() is not None)

        with self._changed:
            self._queue.append(ticket)
            try:
                if self._free() is None:
                    self._want_another()
                self._wait(ready, deadline)
                self._check_open()
                slot = self._take()
                assert slot is not None
                return slot
            finally:
                self._queue.remove(ticket)
                self._notify()  # it may be the next one's turn

    def _want_another(self) -> None:
        """Have one more made, unless one is being made or there are as many as there may be."""
        if self._wanted < self._size and not self._refilling and not self._closed:
            self._wanted += 1
            self._start_refilling()

    def _start_refilling(self) -> None:
        self._refilling = True
        name = f"anywasm-refill-{self._plugin}"
        threading.Thread(target=self._refill, name=name, daemon=True).start()

    def reacquire(self, slot: Slot, deadline: float) -> None:
        """Lease `slot` again for a stream that is bound to it. Works while the pool drains.

        Raises:
            FunctionBusyError: When it did not become free in time; the stream is given up then.
        """
        with self._changed:
            slot.wanted += 1
            try:
                self._wait(lambda: slot in self._idle or slot not in self._slots, deadline)
            except FunctionBusyError:
                slot.streams -= 1
                raise
            finally:
                slot.wanted -= 1
                self._notify()
            if slot in self._slots:
                self._idle.remove(slot)

    def _wait(self, ready: Callable[[], bool], deadline: float) -> None:
        began = time.monotonic()
        patience = max(0.0, deadline - began)
        if self._changed.wait_for(ready, patience):
            return
        # Much later than that, the process stood still, and no instance could become free: an
        # engine may compile with Python's lock held.
        late = time.monotonic() - began - patience
        if late < STOOD_STILL or not self._changed.wait_for(ready, min(late, patience)):
            raise FunctionBusyError(
                f"no instance of plugin {self._plugin!r} became free in time; "
                f"raise instance_num (now {self._size})",
                self._plugin,
                "lease",
            )

    def release(self, slot: Slot, *, done: bool = True) -> None:
        """Give a lease back.

        Args:
            slot: The instance.
            done: Whether its stream has ended, too; False while it is paused.
        """
        failure: Failure | None = None
        with self._changed:
            if done:
                slot.streams -= 1
            broken = slot.guest.failed is not None
            # Streams that paused in a broken instance hear of it from the guest; the last one
            # closes the instance, as it does with one that is not needed any more.
            last = not slot.streams
            surplus = last and (self._closed or len(self._slots) > self._size)
            if slot in self._slots:
                if broken or surplus:
                    self._slots.discard(slot)
                    if slot.guest.failed is not None:
                        failure = Failure.of(slot.guest.failed, slot.guest.failed_in)
                        self.circuit.broke(failure, serving=bool(self._slots))
                else:
                    self._idle.append(slot)
            self._notify()
            if broken and not self._closed and not self._refilling:
                self._start_refilling()
        if failure is not None:
            self._report(failure)
        if last and (broken or surplus):
            self._close_quietly(slot)

    def _refill(self) -> None:
        while True:
            with self._changed:
                if self._closed or len(self._slots) >= self._wanted:
                    self._refilling = False
                    return
                self.circuit.trying()
            try:
                slot = self._make()
            except Exception as error:
                _log.error("plugin %s: cannot make another instance: %s", self._plugin, error)
                failure = Failure.of(error)
                with self._changed:
                    self.circuit.broke(failure, serving=bool(self._slots))
                self._report(failure)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, self.circuit.pause)
            else:
                self.replaced += 1
                self._add(slot)

    def post(self, slot: Slot, job: Callable[[], None]) -> None:
        """Have `job` use the guest when its instance is free; from any thread, without waiting."""
        _posts.submit(self._run_posted, slot, job)

    def _run_posted(self, slot: Slot, job: Callable[[], None]) -> None:
        with self._changed:
            if slot not in self._slots:
                return
            slot.streams += 1
        try:
            self.reacquire(slot, time.monotonic() + POST_WAIT)
        except FunctionBusyError as error:
            _log.warning("plugin %s: an answer or a tick is dropped: %s", self._plugin, error)
            return
        try:
            slot.home.run(lambda: slot.guest.run_soon(job))
        except Exception:
            _log.exception("plugin %s: the host failed", self._plugin)
        finally:
            self.release(slot)

    def resize(self, size: int) -> None:
        """Change the number of instances; surplus ones go once their streams have ended.

        Raises:
            AnyWasmError: When an instance cannot be made; the pool is as it was then.
        """
        before = self._size
        self._limit(size)
        try:
            while len(self._slots) < self._wanted and not self._closed:
                self._add(self._make())
        except BaseException:
            self._limit(before)
            raise

    def _limit(self, size: int) -> None:
        with self._changed:
            self._size = size
            self._wanted = min(self._wanted, size) if self._on_demand else size
            surplus = [slot for slot in self._idle if not slot.streams]
            del surplus[max(0, len(self._slots) - size) :]
            for slot in surplus:
                self._idle.remove(slot)
                self._slots.discard(slot)
        for slot in surplus:
            self._close_quietly(slot)

    def close(self, drain: float) -> bool:
        """Lease nothing more to new streams, and free every instance once its streams have ended.

        Args:
            drain: Seconds to wait for running streams.

        Returns:
            Whether all of them ended in time; the others keep their instances until they do.
        """
        deadline = time.monotonic() + drain
        with self._changed:
            self._closed = True
            self._notify()
            self._changed.wait_for(
                lambda: all(not slot.streams for slot in self._slots), max(0.0, drain)
            )
            free = [slot for slot in self._idle if not slot.streams]
            for slot in free:
                self._idle.remove(slot)
                self._slots.discard(slot)
            clean = not self._slots
        for slot in free:
            self._close_quietly(slot)
        if not clean:
            late = time.monotonic() - deadline
            _log.warning("plugin %s: streams are running %.1f s past the drain", self._plugin, late)
        return clean

    def _close_quietly(self, slot: Slot) -> None:
        try:
            slot.close()
        except AnyWasmError as error:
            _log.error("plugin %s: closing an instance failed: %s", self._plugin, error)
