"""The call path of Python guests: their exports, and the host functions given to them."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_double, c_float
from operator import index
from typing import Any

from anywasm.core.gate import CallGate
from anywasm.core.marshal import value_export, value_host
from anywasm.core.types import FuncType, ValueType
from anywasm.engines.null.errors import map_exceptions

#: What makes a guest's value one of its type; each raises TypeError for what is no number.
_CONVERT: dict[ValueType, Callable[[Any], Any]] = {
    ValueType.I32: index,
    ValueType.I64: index,
    ValueType.F32: lambda value: c_float(value).value,
    ValueType.F64: lambda value: c_double(value).value,
}


def _converter(types: tuple[ValueType, ...]) -> Callable[[Any], Any]:
    """Turns what a guest's method returned into what its type says."""
    converts = tuple(_CONVERT[kind] for kind in types)
    if len(converts) == 1:
        return converts[0]

    def several(values: Any) -> tuple[Any, ...] | None:
        given = () if values is None else tuple(values)
        if len(given) != len(converts):
            raise TypeError(f"{len(given)} results instead of {len(converts)}")
        return tuple([convert(value) for convert, value in zip(converts, given)]) or None

    return several


def guest_function(
    gate: CallGate, type: FuncType, method: Callable[..., Any]
) -> Callable[..., Any]:
    """A guest's method as the marshalling calls it; raises what ends the call early."""
    convert = _converter(type.results)
    rounded = ValueType.F32 in type.params
    params = tuple(_CONVERT[param] for param in type.params)

    def invoke(*args: Any) -> Any:
        try:
            if rounded:
                args = tuple([convert(arg) for convert, arg in zip(params, args)])
            return convert(method(*args))
        except BaseException as error:
            mapped = map_exceptions(gate, error)
            if mapped is error:
                raise
            raise mapped from error

    return invoke


def bind_export(
    gate: CallGate, name: str, type: FuncType, method: Callable[..., Any]
) -> Callable[..., Any]:
    """The callable that `Instance.exports` hands out."""
    return value_export(name, type, gate, guest_function(gate, type, method), signed=False)


def bind_host(gate: CallGate, name: str, type: FuncType, fn: Callable[..., Any]) -> Any:
    """A host function as the guest calls it.

    What the host function raises is left in `gate.pending`, to be told from the guest's own errors.
    """
    host = value_host(name, type, fn, signed=False)
    params = tuple(_CONVERT[param] for param in type.params)

    def call(*args: Any) -> Any:
        if len(args) != len(params):
            raise TypeError(f"{name} takes {len(params)} arguments, not {len(args)}")
        numbers = [convert(arg) for convert, arg in zip(params, args)]
        try:
            return host(*numbers)
        except BaseException as error:
            gate.pending = error
            raise

    return call
