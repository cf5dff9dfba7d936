"""The call path: exports, host functions, and calls with raw bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anywasm.core.errors import ArgumentError
from anywasm.core.gate import CallGate
from anywasm.core.marshal import BYTE_WIDTHS, bad_arguments, value_export, value_host
from anywasm.core.types import FuncType, ValueType
from anywasm.engines.wasmer.errors import Frame, map_exceptions, plain_frame
from anywasm.engines.wasmer.library import Binding


def bind_export(
    gate: CallGate,
    name: str,
    type: FuncType,
    native: Callable[..., Any],
    frame: Frame = plain_frame,
) -> Callable[..., Any]:
    """The callable that `Instance.exports` hands out; `frame` names functions in backtraces."""

    def invoke(*args: Any) -> Any:
        try:
            return native(*args)
        except BaseException as error:
            mapped = map_exceptions(error, frame)
            if mapped is error:
                raise
            raise mapped from error

    return value_export(name, type, gate, invoke, signed=True)


def bind_host(
    binding: Binding, store: Any, gate: CallGate, name: str, type: FuncType, fn: Callable[..., Any]
) -> Any:
    """A host function as wasmer takes it."""
    host = value_host(name, type, fn, signed=True, gate=gate)
    return binding.function(store, host, binding.func_type(type))


# --- raw bits ------------------------------------------------------------------------------------

#: The integer type of the same width, and the instructions that reinterpret to it and back.
_BITS = {
    ValueType.I32: (ValueType.I32, b"", b""),
    ValueType.I64: (ValueType.I64, b"", b""),
    ValueType.F32: (ValueType.I32, b"\xbc", b"\xbe"),
    ValueType.F64: (ValueType.I64, b"\xbd", b"\xbf"),
}
_CODES = {
    ValueType.I32: b"\x7f",
    ValueType.I64: b"\x7e",
    ValueType.F32: b"\x7d",
    ValueType.F64: b"\x7c",
}


def bits_type(type: FuncType) -> FuncType:
    """The function type with integers in the place of floats."""
    return FuncType(
        tuple(_BITS[kind][0] for kind in type.params),
        tuple(_BITS[kind][0] for kind in type.results),
    )


def bits_adapter(type: FuncType) -> bytes:
    """A module that imports a function of this type and exports it with bits for floats.

    A Python float is an f64, and turning a signalling NaN of type f32 into one changes it: only
    the guest's side can take the bits as they are.
    """
    count = len(type.params)
    body = b"".join(
        b"\x20" + _leb(index) + _BITS[kind][2] for index, kind in enumerate(type.params)
    )
    body += b"\x10\0"
    results = list(enumerate(type.results, count))
    body += b"".join(_BITS[kind][1] + b"\x21" + _leb(index) for index, kind in reversed(results))
    body += b"".join(b"\x20" + _leb(index) for index, _ in results) + b"\x0b"
    outside = bits_type(type)
    local = _vector([b"\x01" + _CODES[kind] for kind in outside.results])
    code = local + body
    sections = (
        (1, _vector([_func_type(type), _func_type(outside)])),
        (2, _vector([b"\0\x01f\0\0"])),
        (3, _vector([b"\x01"])),
        (7, _vector([b"\x01f\0\x01"])),
        (10, _vector([_leb(len(code)) + code])),
    )
    return b"\0asm\x01\0\0\0" + b"".join(
        bytes([number]) + _leb(len(content)) + content for number, content in sections
    )


def check_bits(name: str, type: FuncType, args: tuple[int, ...]) -> None:
    """Refuse what are no unsigned bits of the parameters.

    Raises:
        ArgumentError: For a wrong count, or bits wider than the type.
    """
    if len(args) != len(type.params):
        raise bad_arguments(name, type, args)
    for value, kind in zip(args, type.params):
        if not isinstance(value, int) or not 0 <= value < 1 << 8 * BYTE_WIDTHS[kind]:
            raise ArgumentError(f"{name}: {value!r} is no unsigned {kind} bits")


def _func_type(type: FuncType) -> bytes:
    return b"\x60" + b"".join(
        _vector([_CODES[kind] for kind in kinds]) for kinds in (type.params, type.results)
    )


def _vector(items: list[bytes]) -> bytes:
    return _leb(len(items)) + b"".join(items)


def _leb(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(0x80 | value & 0x7F)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
