"""Whether calls and memory accesses go through the C extension, and what it is told of types.

The extension is built where there is a compiler at installation. It stands in for the wrappers of
`anywasm.core.marshal` over ctypes, which do the same where it is missing, several times slower. The
environment variable `ANYWASM_FASTCALL=0` leaves it out.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

from anywasm.core.gate import GateLock
from anywasm.core.memory import Memory
from anywasm.core.types import FuncType, ValueType

_MemoryType = TypeVar("_MemoryType", bound=type[Memory])

_LETTERS = {
    ValueType.I32: b"i",
    ValueType.I64: b"l",
    ValueType.F32: b"f",
    ValueType.F64: b"d",
    ValueType.V128: b"v",
}

try:
    if os.environ.get("ANYWASM_FASTCALL") == "0":
        raise ImportError("ANYWASM_FASTCALL is 0")
    from anywasm.engines import _fastcall as native
except ImportError:
    native = None  # type: ignore[assignment]

#: Whether `native`, the extension, is in use.
ENABLED = native is not None


def gate_lock() -> GateLock | None:
    """The lock for a gate that calls from C pass, or None for the usual one."""
    return native.Lock() if ENABLED else None


def lock_depth(lock: Any) -> int:
    """How often the running thread, which has taken a gate's lock, has taken it."""
    if ENABLED:
        return lock.depth  # type: ignore[no-any-return]
    # A threading.RLock tells nobody else before Python 3.14; conditions use the same two methods.
    state = lock._release_save()
    lock._acquire_restore(state)
    return state[0]  # type: ignore[no-any-return]


def signature(type: FuncType) -> tuple[bytes, bytes] | None:
    """Parameters and results as the extension reads them; None where it cannot or is not used."""
    if not ENABLED:
        return None
    try:
        return _letters(type.params), _letters(type.results)
    except KeyError:
        return None


def _letters(types: tuple[ValueType, ...]) -> bytes:
    return b"".join(_LETTERS[value] for value in types)


def fast_memory(cls: _MemoryType) -> _MemoryType:
    """A decorator: where the extension is in use, `read`, `write` and their kin are in C.

    For engines whose `_attach` gives views of native memory that stay mapped until `invalidate`.
    """
    return native.hasten_memory(cls) if ENABLED else cls


__all__ = ["ENABLED", "fast_memory", "gate_lock", "lock_depth", "native", "signature"]
