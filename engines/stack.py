"""The native stack of threads, on which engines run guests without knowing where it ends."""

from __future__ import annotations

import ctypes
import threading
from typing import NoReturn

from anywasm.core.errors import ConcurrencyError, TrapError, TrapKind

#: Bytes of native stack that guest code may use, counted from where a store is entered.
GUEST_STACK = 512 * 1024
#: Bytes of native stack kept for Python: about the thousand frames that Python allows itself.
_PYTHON_STACK = 512 * 1024
#: Bytes of the stack that a guest has to itself where it may be suspended: room for its own part,
#: for host functions, and for other guests that these enter. Only what is touched takes memory.
FIBER_STACK = 4 * 1024 * 1024
#: How far below the first host function on such a stack there may be another. Where the stack ends
#: is not told, but above that function there is at most one guest, and a little of the engine.
FIBER_ROOM = FIBER_STACK - 2 * GUEST_STACK - _PYTHON_STACK - 64 * 1024


#: A guest's own stack before its first host function: no address is refused, or taken for measured.
UNPLACED = (1, 1, True)


def thread_stack() -> tuple[int, int]:
    """The lowest address and the size of the calling thread's stack, in bytes.

    Raises:
        OSError: When the system does not tell.
    """
    libc = ctypes.CDLL(None)
    # Larger than the pthread_attr_t of any Linux.
    attributes = ctypes.create_string_buffer(256)
    low, size = ctypes.c_void_p(), ctypes.c_size_t()
    if libc.pthread_getattr_np(ctypes.c_void_p(threading.get_ident()), attributes):
        raise OSError("the stack of this thread is unknown")
    libc.pthread_attr_getstack(attributes, ctypes.byref(low), ctypes.byref(size))
    libc.pthread_attr_destroy(attributes)
    return low.value or 0, size.value


class StackFloor(threading.local):
    """How deep the calling thread may go into guests of at most `GUEST_STACK` bytes.

    An engine counts what a guest uses but does not know what the thread has, and past the end of a
    stack there is only a crash. So a thread is measured when it first enters a guest, and a host
    function is refused below `floor`, because it may enter another store, which counts anew.

    Attributes:
        floor: The address above which there is room for Python and one more guest; 0 before the
            thread was measured.
        low: The lowest address of the stack.
        unplaced: Whether the thread is on a guest's own stack, of which no host function has told
            yet where it is.
    """

    floor = 0
    low = 0
    unplaced = False

    def change(self, place: tuple[int, int, bool]) -> tuple[int, int, bool]:
        """Go over to another stack, `UNPLACED` or one of which this told before.

        Returns:
            The one before, as `place` takes it.
        """
        before = self.low, self.floor, self.unplaced
        self.low, self.floor, self.unplaced = place
        return before

    def check(self, address: int) -> None:
        """Refuse a host function whose values are at `address`.

        Those of a host function that is called as an export are the caller's, and anywhere.

        Raises:
            TrapError: Where too little of the stack is left below.
        """
        if self.unplaced:
            self.unplaced = False
            self.low, self.floor = address - FIBER_STACK, address - FIBER_ROOM
        if self.low <= address < self.floor:
            refuse_depth()

    def measure(self) -> int:
        """Find `floor` for the calling thread.

        Raises:
            ConcurrencyError: When its stack is too small to run guests on.
        """
        try:
            low, size = thread_stack()
        except OSError as error:
            raise ConcurrencyError(str(error)) from error
        room = _PYTHON_STACK + GUEST_STACK
        needed = GUEST_STACK + room
        if size < needed:
            raise ConcurrencyError(
                f"this thread's stack of {size >> 10} KiB is too small for guests, which need "
                f"{needed >> 10} KiB: see threading.stack_size() and `ulimit -s`"
            )
        self.low, self.floor = low, low + room
        return self.floor


def refuse_depth() -> NoReturn:
    """Raise what stands against a host function below the thread's floor.

    Raises:
        TrapError: Always.
    """
    raise TrapError(
        TrapKind.STACK_OVERFLOW, "too little of the thread's stack is left for the host"
    )
