"""What libraries report through `wasm.h`, in the project's words."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from anywasm.core.errors import (
    AnyWasmError,
    InstantiationError,
    LinkError,
    OutOfMemoryError,
    TrapError,
    TrapKind,
)
from anywasm.engines.wasm_c_api.library import Vec

if TYPE_CHECKING:
    from anywasm.engines.wasm_c_api.library import WasmLibrary

#: Words by which implementations mean a kind, besides those of the specification's test suite. An
#: earlier one wins, and all of them win over the specification's.
_WORDS = {
    "undefined element": TrapKind.UNDEFINED_ELEMENT,
    "wasm `unreachable` instruction executed": TrapKind.UNREACHABLE,
    "integer overflow": TrapKind.INTEGER_OVERFLOW,
    "uninitialized element": TrapKind.UNINITIALIZED_ELEMENT,
    "stack overflow": TrapKind.STACK_OVERFLOW,
} | {kind.value: kind for kind in TrapKind if kind is not TrapKind.OTHER}
#: What stands before the reason.
_PREFIX = re.compile(r"^(?:\d+: )?(?:RuntimeError: |Exception: |wasm trap: )?", re.IGNORECASE)
#: Frames kept of a deep stack.
_MOST_FRAMES = 64
_OUT_OF_MEMORY = ("out of memory", "cannot allocate memory", "allocate memory failed")


def take_trap(library: WasmLibrary, trap: int, name: Callable[[int], str] | None) -> AnyWasmError:
    """The error for a `wasm_trap_t`, which is freed.

    Args:
        library: Where it comes from.
        trap: Its address.
        name: Gives the backtrace's entry for the index of a function; None for no backtrace.
    """
    text, frames = Vec(), Vec()
    try:
        library.wasm_trap_message(trap, ctypes.byref(text))
        message = library.take_bytes(text).rstrip(b"\0").decode(errors="replace")
        library.wasm_trap_trace(trap, ctypes.byref(frames))
        indices = [library.wasm_frame_func_index(at) for at in frames.pointers()[:_MOST_FRAMES]]
        library.wasm_frame_vec_delete(ctypes.byref(frames))
    finally:
        library.wasm_trap_delete(trap)
    return trap_error(message, () if name is None else tuple(map(name, indices)))


def trap_error(text: str, backtrace: tuple[str, ...] = ()) -> AnyWasmError:
    """The error for a trap that is described as `text`."""
    # A backtrace, and what caused what, come on lines of their own; the reason is the last cause.
    lines = [_PREFIX.sub("", line.strip()) for line in text.splitlines()]
    lowered = text.lower()
    if any(words in lowered for words in _OUT_OF_MEMORY):
        return OutOfMemoryError(lines[-1])
    for line in reversed(lines):
        for words, kind in _WORDS.items():
            if words in line:
                return TrapError(kind, line, backtrace)
    return TrapError(TrapKind.OTHER, text.strip() or None, backtrace)


def instantiation_error(error: AnyWasmError) -> AnyWasmError:
    """The error for an instance whose start ended with `error`."""
    if not isinstance(error, TrapError):
        return error
    if error.kind is TrapKind.OTHER and "import" in error.message:
        return LinkError(error.message)
    outer = InstantiationError(f"the instance could not be started: {error}")
    outer.__cause__ = error
    return outer


def map_exceptions(
    pointer: int, kind: type[AnyWasmError], what: str, reason: Callable[[], str]
) -> int:
    """Hand on a pointer that a library may refuse to make.

    Raises:
        AnyWasmError: Of that kind where it is null, with what `reason` gives.
    """
    if not pointer:
        raise kind(f"{what}: {reason()}")
    return pointer
