"""What wasm3's answers mean at the seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from anywasm.core.errors import AnyWasmError, OutOfMemoryError, TrapError, TrapKind
from anywasm.engines.wasm3.library import Wasm3Error

if TYPE_CHECKING:
    from anywasm.engines.wasm3.library import Machine, Wasm3Library

#: wasm3's error constants that end guest code, by what they mean.
_TRAPS = {
    "m3Err_trapOutOfBoundsMemoryAccess": TrapKind.MEMORY_OUT_OF_BOUNDS,
    "m3Err_trapDivisionByZero": TrapKind.INTEGER_DIVIDE_BY_ZERO,
    "m3Err_trapIntegerOverflow": TrapKind.INTEGER_OVERFLOW,
    "m3Err_trapIntegerConversion": TrapKind.INVALID_CONVERSION_TO_INTEGER,
    "m3Err_trapIndirectCallTypeMismatch": TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
    # wasm3's tables end with their last element, so this may also be an uninitialized one.
    "m3Err_trapTableIndexOutOfRange": TrapKind.UNDEFINED_ELEMENT,
    "m3Err_trapTableElementIsNull": TrapKind.UNINITIALIZED_ELEMENT,
    "m3Err_trapUnreachable": TrapKind.UNREACHABLE,
    "m3Err_trapStackOverflow": TrapKind.STACK_OVERFLOW,
}
#: The innermost frames that a backtrace holds.
_MOST_FRAMES = 64
_NO_MEMORY = ("m3Err_mallocFailed", "m3Err_mallocFailedCodePage")


class Traps:
    """Tells by the address that wasm3 returned why guest code ended.

    Addresses are compared, never read: what a host function returned is not trusted to be a text.
    """

    def __init__(self, library: Wasm3Library) -> None:
        self._kinds: dict[int | None, tuple[TrapKind, str]] = {}
        for name, kind in _TRAPS.items():
            address, text = library.text(name)
            self._kinds[address] = (kind, text.removeprefix("[trap] "))
        self._no_memory = {library.text(name)[0] for name in _NO_MEMORY}

    def error(self, address: int, machine: Machine, name: Callable[[int], str]) -> AnyWasmError:
        """The error for guest code that ended with `address`.

        Args:
            address: What wasm3 returned.
            machine: Where it ran; its backtrace is taken and forgotten.
            name: Gives the name of a function's index.
        """
        backtrace = tuple(map(name, machine.backtrace(_MOST_FRAMES)))
        machine.forget_backtrace()
        if address in self._no_memory:
            return OutOfMemoryError("wasm3 got no memory to compile a function")
        kind, text = self._kinds.get(address, (TrapKind.OTHER, "wasm3 ended the call"))
        return TrapError(kind, text, backtrace)


@contextmanager
def map_exceptions(error: type[AnyWasmError], doing: str) -> Iterator[None]:
    """Turn what wasm3 refuses inside the block into `error`, or `OutOfMemoryError`."""
    try:
        yield
    except Wasm3Error as refused:
        if refused.text.startswith("memory allocation failed"):
            raise OutOfMemoryError(f"{doing}: {refused}") from refused
        raise error(f"{doing}: {refused}") from refused
