"""What a metered guest is told when its fuel is spent, or it wants to grow."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from anywasm.core.binary.interface import ModuleInterface
from anywasm.core.errors import InstantiationError
from anywasm.core.gate import CallGate, Deadline, GateLock
from anywasm.core.limits import MOST_TABLE_ELEMENTS, ResourceLimits
from anywasm.core.memory import PAGE_SIZE

#: Fuel for a guest under a deadline. A unit is one turn of a small loop, and 64 bytes more of code
#: in larger ones: a slice lasts from half a millisecond to some ten, which is how late a deadline
#: can be noticed.
SLICE = 1 << 19
#: Fuel for a guest without a deadline: more than it can spend.
UNBOUNDED = 1 << 62
#: Pages that a 32-bit memory can have.
MOST_PAGES = 1 << 16
#: Added to the size of a table, by which the check tells it from that of a memory.
TABLE = 1 << 30
#: What no memory can grow by; wasm3 adds it to a size without looking at the carry.
_TOO_MANY_PAGES = TABLE - 1
_UNSIGNED = 0xFFFFFFFF


def _no_fuel(fuel: int) -> None:
    """Stands in until the instance is there."""


class MeteredGate(CallGate):
    """The gate of an instance whose code is metered (see `meter`).

    The fuel is rationed only while a deadline is running, so that all other calls never leave the
    guest for it.

    Attributes:
        set_fuel: Sets the instance's fuel; given by the engine.
        most_pages: How large memories may become.
        most_elements: How long tables may become.
    """

    __slots__ = ("_rationed", "_shared", "most_elements", "most_pages", "set_fuel")

    def __init__(
        self,
        what: str,
        *,
        thread_bound: bool = False,
        lock: GateLock | None = None,
        shared: bool = False,
    ) -> None:
        """Make a gate.

        Args:
            what: What it guards, for messages.
            thread_bound: Whether that belongs to the calling thread.
            lock: The lock to use, if not the usual one.
            shared: Whether several instances go through it. Their fuel is always rationed: not all
                of it could be set, since one that did not start may have left its functions in the
                tables of others.
        """
        super().__init__(what, thread_bound=thread_bound, lock=lock)
        self._shared = shared
        self.set_fuel: Callable[[int], None] = _no_fuel
        self.most_pages = MOST_PAGES
        self.most_elements = MOST_TABLE_ELEMENTS
        #: Whether the guest has a slice at most, as one that is new.
        self._rationed = True

    def limit(self, limits: ResourceLimits) -> None:
        """Bound what memories and tables may grow to."""
        if limits.memory_bytes is not None:
            self.most_pages = min(MOST_PAGES, limits.memory_bytes // PAGE_SIZE)
        if limits.table_elements is not None:
            self.most_elements = min(MOST_TABLE_ELEMENTS, limits.table_elements)

    def admit(self, interface: ModuleInterface) -> None:
        """Look whether a module fits.

        Raises:
            InstantiationError: When its memories or tables are larger from the start.
        """
        for memory in interface.memories:
            if memory.limits.minimum > self.most_pages:
                raise InstantiationError(
                    f"the guest's memory of {memory.limits.minimum * PAGE_SIZE} bytes exceeds the "
                    f"limit of {self.most_pages * PAGE_SIZE}"
                )
        for table in interface.tables:
            if table.limits.minimum > self.most_elements:
                raise InstantiationError(
                    f"the guest's table of {table.limits.minimum} elements exceeds the limit of "
                    f"{self.most_elements}"
                )

    def checked(self, added: int, size: int) -> int:
        """What the guest's `check` answers (see `MeteringPlan`); the numbers may be signed.

        Raises:
            DeadlineExceededError: When the running deadline has passed.
        """
        if size == -1 or size == _UNSIGNED:
            return self.refill()
        self.check_time()
        added &= _UNSIGNED
        if size & TABLE:
            return added if added + size - TABLE <= self.most_elements else _UNSIGNED
        return added if added + size <= self.most_pages else _TOO_MANY_PAGES

    def bound_start(self, seconds: float | None) -> AbstractContextManager[None]:
        """Bound the start function, where `seconds` are given; a new module has one slice."""
        return nullcontext() if seconds is None else Deadline(self, seconds)

    def refill(self) -> int:
        """What the guest's `check` answers: its new fuel.

        Raises:
            DeadlineExceededError: When the running deadline has passed.
        """
        self._rationed = self._shared or self.expires is not None
        if not self._rationed:
            return UNBOUNDED
        self.check_time()
        return SLICE

    def set_expires(self, expires: float | None) -> None:
        """Have calls end at that `time.monotonic` second; None for never. Rations the fuel.

        Raises:
            ClosedError: For a first deadline after `close`.
            ConcurrencyError: For one in a thread to which the instance is not bound.
        """
        if self.expires is None and expires is not None:
            if self.alert:
                self.check_usable()
            if not self._rationed:
                self.set_fuel(SLICE)
                self._rationed = True
        self.expires = expires
        self.alert = self._closed or self._home is not None or expires is not None
