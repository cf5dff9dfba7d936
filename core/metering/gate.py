"""What a metered guest is told when its fuel is spent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from anywasm.core.gate import CallGate, Deadline, GateLock

#: Fuel for a guest under a deadline. A unit is one turn of a small loop, and 64 bytes more of code
#: in larger ones: a slice lasts from half a millisecond to some ten, which is how late a deadline
#: can be noticed.
SLICE = 1 << 19
#: Fuel for a guest without a deadline: more than it can spend.
UNBOUNDED = 1 << 62


def _no_fuel(fuel: int) -> None:
    """Stands in until the instance is there."""


class MeteredGate(CallGate):
    """The gate of an instance whose code is metered (see `meter`).

    The fuel is rationed only while a deadline is running, so that all other calls never leave the
    guest for it.

    Attributes:
        set_fuel: Sets the instance's fuel; given by the engine.
    """

    __slots__ = ("_rationed", "_shared", "set_fuel")

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
        #: Whether the guest has a slice at most, as one that is new.
        self._rationed = True

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
