"""The gate that every entry into an instance passes: closed, busy, out of time, wrong thread."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Protocol

from anywasm.core.errors import ConcurrencyError, DeadlineExceededError
from anywasm.core.fork import closed_error

_monotonic = time.monotonic


class _Thread(threading.local):
    """Tells the running thread from all others, also from those whose `get_ident` it inherits."""

    def __init__(self) -> None:
        self.token = object()


_thread = _Thread()


class GateLock(Protocol):
    """What a gate needs of a lock: `threading.RLock`, or an engine's that is cheaper to take."""

    def acquire(self, blocking: bool, /) -> bool:
        """Take it at once, re-entrantly, or return False. Always called with False."""

    def release(self) -> None:
        """Give it back once."""

    def _is_owned(self) -> bool: ...


class CallGate:
    """Guards one instance.

    The hot path of a call reads one attribute, `alert`, and takes one lock; everything else happens
    only when `alert` is set: the instance is closed, bound to a thread, under a deadline, or kept
    by a suspended call.

    Attributes:
        alert: Whether `check` has anything to say.
        acquire: Takes the instance for the calling thread, re-entrantly; call it as
            `acquire(False)`, then `refuse` where it returns False.
        release: Gives it back.
        expires: The `time.monotonic` second at which the running deadline ends, or None.
        pending: The exception that a host function raised, on its way out through the guest.
    """

    __slots__ = (
        "_closed",
        "_home",
        "_lock",
        "_suspended",
        "_what",
        "acquire",
        "alert",
        "expires",
        "pending",
        "release",
    )

    def __init__(
        self, what: str, *, thread_bound: bool = False, lock: GateLock | None = None
    ) -> None:
        self._what = what
        self._lock: GateLock = lock or threading.RLock()  # type: ignore[assignment]
        self._closed = False
        self._suspended = False
        self._home = _thread.token if thread_bound else None
        self.acquire = self._lock.acquire
        self.release = self._lock.release
        self.alert = thread_bound
        self.expires: float | None = None
        self.pending: BaseException | None = None

    @property
    def closed(self) -> bool:
        """Whether `close` has passed."""
        return self._closed

    @property
    def suspended(self) -> bool:
        """Whether a call is suspended."""
        return self._suspended

    @property
    def lock(self) -> GateLock:
        """What it was given for `lock`, or an RLock."""
        return self._lock

    def check(self) -> None:
        """Raise what stands against entering now.

        Raises:
            ClosedError: After `close`.
            ConcurrencyError: In a thread to which the instance is not bound, and while a call is
                suspended in it.
            DeadlineExceededError: When the running deadline has passed.
        """
        # Every call into a thread-bound instance comes here: one comparison, and no further call.
        if (
            self._closed
            or self._suspended
            or (self._home is not None and _thread.token is not self._home)
        ):
            self.check_usable()
        if self.expires is not None:
            self.check_time()

    def check_time(self) -> None:
        """Raise when the running deadline has passed.

        Raises:
            DeadlineExceededError: When it has.
        """
        if self.expires is not None and _monotonic() >= self.expires:
            raise self.overdue()

    def refuse(self) -> None:
        """Raise the error for a second thread at the same moment.

        Raises:
            ConcurrencyError: Always.
        """
        raise ConcurrencyError(f"{self._what} is in use by another thread")

    def overdue(self) -> DeadlineExceededError:
        """The error of a deadline that has passed."""
        return DeadlineExceededError(f"the deadline for {self._what} has passed")

    def take_pending(self) -> BaseException | None:
        """The host function's exception that ended the call, once."""
        pending, self.pending = self.pending, None
        return pending

    def close(self) -> bool:
        """Shut the gate for good.

        Returns:
            Whether this call did it (False when it was shut before).

        Raises:
            ConcurrencyError: While a call is running, in any thread: its stack still needs the
                instance; or in a thread to which the instance is not bound.
        """
        if self._closed:
            return False
        self.check_home()
        if self._lock._is_owned() or not self._lock.acquire(False):
            raise ConcurrencyError(f"{self._what} cannot be closed while a call is running in it")
        try:
            self._closed = True
            self.alert = True
        finally:
            self._lock.release()
        return True

    def abandon(self) -> None:
        """Shut the gate of what cannot be used or freed any more: it is of another process."""
        self._closed = self.alert = True

    def check_usable(self) -> None:
        """Raise when the instance is closed, a call is suspended in it, or this is not its thread.

        Raises:
            ClosedError: After `close`.
            ConcurrencyError: In a thread to which the instance is not bound, and while a call is
                suspended in it.
        """
        if self._closed:
            raise closed_error(self._what)
        if self._suspended:
            raise ConcurrencyError(f"{self._what} has a suspended call, which must end first")
        self.check_home()

    def suspend(self) -> None:
        """Refuse every call until `resume`: the guest's own stack is kept half way through one."""
        self._suspended = self.alert = True

    def resume(self) -> None:
        """The suspended call goes on, or was given up."""
        self._suspended = False
        self.set_expires(self.expires)

    def check_home(self) -> None:
        """Raise in a thread to which the instance is not bound.

        Raises:
            ConcurrencyError: In such a thread.
        """
        if self._home is not None and _thread.token is not self._home:
            raise ConcurrencyError(
                f"{self._what} belongs to the thread that made it (capabilities.thread_bound)"
            )

    def set_expires(self, expires: float | None) -> None:
        """Have calls end at that `time.monotonic` second; None for never."""
        self.expires = expires
        self.alert = (
            self._closed or self._suspended or self._home is not None or expires is not None
        )


class Deadline:
    """The context manager behind `Instance.deadline`; nested ones take the earlier end."""

    __slots__ = ("_expires", "_gate", "_outer")

    def __init__(self, gate: CallGate, seconds: float) -> None:
        self._gate = gate
        self._expires = _monotonic() + seconds
        self._outer: float | None = None

    def __enter__(self) -> None:
        outer = self._outer = self._gate.expires
        if outer is None or self._expires < outer:
            self._gate.set_expires(self._expires)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._gate.set_expires(self._outer)
