"""Which values may cross, and what is said about those that may not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anywasm.core.errors import ArgumentError, UnsupportedError
from anywasm.core.types import NUMERIC, FuncType, ValueType

RANGES = {ValueType.I32: (-(1 << 31), (1 << 32) - 1), ValueType.I64: (-(1 << 63), (1 << 64) - 1)}
MASKS = {ValueType.I32: "0xFFFFFFFF", ValueType.I64: "0xFFFFFFFFFFFFFFFF"}
FLOATS = frozenset({ValueType.F32, ValueType.F64})

#: `wasm_valkind_t` of the wasm C API.
TAGS = {ValueType.I32: 0, ValueType.I64: 1, ValueType.F32: 2, ValueType.F64: 3}

#: Bytes of the value types that can cross the seam.
BYTE_WIDTHS = {
    ValueType.I32: 4,
    ValueType.F32: 4,
    ValueType.I64: 8,
    ValueType.F64: 8,
    ValueType.V128: 16,
}


def _describe(values: Sequence[object], types: tuple[ValueType, ...]) -> str | None:
    for position, (value, type_) in enumerate(zip(values, types)):
        if type_ in RANGES:
            low, high = RANGES[type_]
            if isinstance(value, float) or not hasattr(value, "__index__"):
                return f"value {position} must be an int for {type_}, not {value!r}"
            if not low <= value.__index__() <= high:
                return f"value {position} is out of range for {type_}: {value!r}"
        elif type_ in FLOATS:
            if isinstance(value, str) or not (
                hasattr(value, "__float__") or hasattr(value, "__index__")
            ):
                return f"value {position} must be a float for {type_}, not {value!r}"
        elif type_ is ValueType.V128 and not (
            isinstance(value, (bytes, bytearray, memoryview)) and len(value) == 16
        ):
            return f"value {position} must be 16 bytes for v128, not {value!r}"
    return None


def check_value(name: str, type: ValueType, value: object) -> None:
    """Refuse what is no number or vector of a type; a reference is for the engine to judge.

    Raises:
        ArgumentError: Naming what was wrong.
    """
    reason = _describe((value,), (type,))
    if reason is not None:
        raise ArgumentError(f"{name}: {reason}")


def bad_arguments(name: str, type: FuncType, args: Sequence[object]) -> ArgumentError:
    """The error for a call that was given the wrong arguments."""
    if len(args) != len(type.params):
        return ArgumentError(
            f"{name} takes {len(type.params)} arguments ({' '.join(type.params)}), not {len(args)}"
        )
    return ArgumentError(f"{name}: {_describe(args, type.params) or 'wrong arguments'}")


def bad_result(name: str, type: FuncType, result: object) -> ArgumentError:
    """The error for a host function that returned something else than its type says."""
    count = len(type.results)
    if count == 0:
        return ArgumentError(f"host function {name} has no results but returned {result!r}")
    if count == 1:
        what = _describe((result,), type.results)
        return ArgumentError(f"host function {name}: {what or f'wrong result {result!r}'}")
    if not isinstance(result, (tuple, list)) or len(result) != count:
        return ArgumentError(f"host function {name} must return {count} values, not {result!r}")
    return ArgumentError(
        f"host function {name}: {_describe(result, type.results) or 'wrong result'}"
    )


def unsupported(type: FuncType, others: frozenset[ValueType]) -> str | None:
    """Why values of this type cannot cross, where numbers and `others` can; or None."""
    for value in type.params + type.results:
        if value in NUMERIC or value in others:
            continue
        return f"values of type {value} cannot be passed between host and guest on this engine"
    return None


def refusal(name: str, reason: str) -> Callable[..., Any]:
    """A callable that says why it cannot be called."""

    def refuse(*args: object) -> None:
        raise UnsupportedError(f"{name}: {reason}")

    return refuse
