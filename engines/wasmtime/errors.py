"""What wasmtime reports, in the project's words."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from anywasm.core.errors import (
    AnyWasmError,
    CompileError,
    InstantiationError,
    LinkError,
    OutOfMemoryError,
    TrapError,
    TrapKind,
)
from anywasm.engines.wasmtime.library import ffi, wasmtime

_Code = wasmtime.TrapCode
_KINDS = {
    _Code.STACK_OVERFLOW: TrapKind.STACK_OVERFLOW,
    _Code.MEMORY_OUT_OF_BOUNDS: TrapKind.MEMORY_OUT_OF_BOUNDS,
    # One code for `call_indirect` and for `table.get`; the first is what guests do.
    _Code.TABLE_OUT_OF_BOUNDS: TrapKind.UNDEFINED_ELEMENT,
    _Code.INDIRECT_CALL_TO_NULL: TrapKind.UNINITIALIZED_ELEMENT,
    _Code.BAD_SIGNATURE: TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
    _Code.INTEGER_OVERFLOW: TrapKind.INTEGER_OVERFLOW,
    _Code.INTEGER_DIVISION_BY_ZERO: TrapKind.INTEGER_DIVIDE_BY_ZERO,
    _Code.BAD_CONVERSION_TO_INTEGER: TrapKind.INVALID_CONVERSION_TO_INTEGER,
    _Code.UNREACHABLE: TrapKind.UNREACHABLE,
    _Code.NULL_REFERENCE: TrapKind.NULL_REFERENCE,
}
#: How wasmtime says that the operating system, or the guest's garbage-collected heap, is full.
_OUT_OF_MEMORY = ("out of memory", "Cannot allocate memory")
#: How wasmtime begins what it says of an import of another type than the module's.
_INCOMPATIBLE = "incompatible import type"
#: What wasmtime puts before a cause.
_PREFIX = re.compile(r"\s*(\d+: )?(wasm trap: )?")


@contextmanager
def map_exceptions() -> Iterator[None]:
    """Raise what the binding raises while it reads a module as ours, with its own as the cause.

    Raises:
        CompileError: When it refuses the module.
        OutOfMemoryError: When the host cannot give the memory.
    """
    try:
        yield
    except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
        raise _convert(error, CompileError) from error


def take_native(error: int, trap: int) -> Exception:
    """What a failed C call left, as the binding's exception, which frees it.

    Args:
        error: The address of its `wasmtime_error_t`, or 0.
        trap: The address of its `wasm_trap_t`, when there is no error.
    """
    if error:
        address = ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t))
        return wasmtime.WasmtimeError._from_ptr(address)
    return wasmtime.Trap._from_ptr(ctypes.cast(trap, ctypes.POINTER(ffi.wasm_trap_t)))


def call_error(native: Exception) -> AnyWasmError:
    """The exception for a call that the guest did not finish, from the binding's."""
    return _translate(native, lambda message: TrapError(TrapKind.OTHER, message))


def instantiation_error(native: Exception) -> AnyWasmError:
    """The exception for an instance that could not be started, from the binding's."""
    linking = str(native).startswith(_INCOMPATIBLE)
    failure = _translate(native, LinkError if linking else InstantiationError)
    if isinstance(failure, TrapError):
        refusal = InstantiationError(f"the module did not start: {failure}")
        refusal.__cause__ = failure
        return refusal
    return failure


def _translate(native: Exception, otherwise: Callable[[str], AnyWasmError]) -> AnyWasmError:
    failure = _convert(native, otherwise)
    failure.__cause__ = native
    return failure


def _convert(native: Exception, otherwise: Callable[[str], AnyWasmError]) -> AnyWasmError:
    # The causes come last, after the frames; several are numbered.
    causes = str(native).rpartition("Caused by:")[2].strip().splitlines()
    message = "; ".join(_PREFIX.sub("", cause, count=1) for cause in causes if cause.strip())
    if isinstance(native, wasmtime.Trap):
        kind = _KINDS.get(native.trap_code, TrapKind.OTHER) if native.trap_code else TrapKind.OTHER
        frames = native.frames
        names = tuple(map(_frame_name, frames))
        return TrapError(kind, message, names, tuple(frame.module_offset for frame in frames))
    if any(words in message for words in _OUT_OF_MEMORY):
        return OutOfMemoryError(message)
    return otherwise(message)


def _frame_name(frame: wasmtime.Frame) -> str:
    return frame.func_name or f"func[{frame.func_index}]"
