"""The call path of Python guests: their exports, and the host functions given to them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ctypes import c_double, c_float
from operator import index
from typing import Any

from anywasm.core.errors import ArgumentError, UnsupportedError
from anywasm.core.gate import CallGate
from anywasm.core.marshal import BYTE_WIDTHS, bad_arguments, value_export, value_host
from anywasm.core.types import FuncType, ValueType
from anywasm.engines.null.errors import map_exceptions

#: What makes a guest's value one of its type; each raises TypeError for what is no number.
_CONVERT: dict[ValueType, Callable[[Any], Any]] = {
    ValueType.I32: index,
    ValueType.I64: index,
    ValueType.F32: lambda value: c_float(value).value,
    ValueType.F64: lambda value: c_double(value).value,
}
_FLOATS = {ValueType.F32: struct.Struct("<f"), ValueType.F64: struct.Struct("<d")}


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


def call_bits(
    name: str, type: FuncType, call: Callable[..., Any], args: tuple[int, ...]
) -> int | tuple[int, ...] | None:
    """One call of a bound export with raw bits (see `Instance.call_bits`)."""
    if len(args) != len(type.params):
        raise bad_arguments(name, type, args)
    results = call(*(_from_bits(name, kind, bits) for kind, bits in zip(type.params, args)))
    if len(type.results) == 1:
        return _to_bits(type.results[0], results)
    return results and tuple(map(_to_bits, type.results, results))


def _from_bits(name: str, kind: ValueType, bits: int) -> float:
    layout = _FLOATS.get(kind)
    try:
        raw = bits.to_bytes(BYTE_WIDTHS[kind], "little")
    except (AttributeError, OverflowError):
        raise ArgumentError(f"{name}: {bits!r} is no unsigned {kind} bits") from None
    if layout is None:
        return bits
    value: float = layout.unpack(raw)[0]
    if layout.pack(value) != raw:
        raise UnsupportedError(f"{name}: a Python float cannot carry the {kind} bits {bits:#x}")
    return value


def _to_bits(kind: ValueType, value: Any) -> int:
    layout = _FLOATS.get(kind)
    return value if layout is None else int.from_bytes(layout.pack(value), "little")


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
