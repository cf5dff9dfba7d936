"""Host functions that wait without keeping the thread: the guest is suspended meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Suspending:
    """Marks a host function that may suspend its guest, as `WebAssembly.Suspending` of JSPI does.

    It is given as an import where `capabilities.suspend` is claimed. What it wraps returns its
    result as any host function does; or a generator, which suspends the guest with each value that
    it yields and returns the result. The guest must have been entered by `Instance.promising`
    directly, with no other host function in between: `Instance.can_suspend` tells.

    What is yielded comes out of the generator that `Instance.promising` gave; what is sent to that
    one comes back, in whichever thread and after however long. A generator that is given up (its
    caller closed, the instance closed) is closed, too.

    Args:
        fn: Takes the arguments by the import's type.
    """

    __slots__ = ("fn",)

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __call__(self, *args: Any) -> Any:
        """Call what it wraps."""
        return self.fn(*args)

    def __repr__(self) -> str:
        return f"Suspending({self.fn!r})"
