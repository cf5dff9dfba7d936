"""Translates what V8 says of traps."""

from __future__ import annotations

from anywasm import TrapError, TrapKind

#: How V8's reasons begin. It has one for two kinds of trap in two cases: where a float cannot be
#: an integer, and where a function in a table is missing or of another type.
_KINDS = {
    "unreachable": TrapKind.UNREACHABLE,
    "memory access out of bounds": TrapKind.MEMORY_OUT_OF_BOUNDS,
    "divide by zero": TrapKind.INTEGER_DIVIDE_BY_ZERO,
    "remainder by zero": TrapKind.INTEGER_DIVIDE_BY_ZERO,
    "divide result unrepresentable": TrapKind.INTEGER_OVERFLOW,
    "float unrepresentable": TrapKind.INVALID_CONVERSION_TO_INTEGER,
    "null function or function signature": TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
    "table index is out of bounds": TrapKind.UNDEFINED_ELEMENT,
    "table access out of bounds": TrapKind.TABLE_OUT_OF_BOUNDS,
    "dereferencing a null pointer": TrapKind.NULL_REFERENCE,
    "Maximum call stack size exceeded": TrapKind.STACK_OVERFLOW,
    # Python's own limit, met by STPyV8 on its way to a host function.
    "maximum recursion depth exceeded": TrapKind.STACK_OVERFLOW,
}


def trap(text: str) -> TrapError:
    """The trap that V8 describes as `text`, such as `RuntimeError: unreachable`."""
    reason = text.partition(": ")[2]
    kinds = [kind for words, kind in _KINDS.items() if reason.startswith(words)]
    return TrapError(kinds[0] if kinds else TrapKind.OTHER, reason)
