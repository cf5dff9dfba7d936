"""What becomes of an exception that ends a Python guest's code."""

from __future__ import annotations

from anywasm.core.errors import TrapError, TrapKind
from anywasm.core.gate import CallGate


def map_exceptions(gate: CallGate, error: BaseException) -> BaseException:
    """The exception to raise from an export call that `error` ended.

    An exception of a host function (which left it in `gate.pending`) and one that is no `Exception`
    (`KeyboardInterrupt`) stay what they are; the guest's own are traps.
    """
    if error is gate.take_pending() or isinstance(error, TrapError):
        return error
    if isinstance(error, RecursionError):
        return TrapError(TrapKind.STACK_OVERFLOW)
    if isinstance(error, Exception):
        return TrapError(TrapKind.OTHER, f"{type(error).__name__}: {error}")
    return error
