"""Calls with raw bits on bindings that take Python numbers, which cannot carry every NaN."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from anywasm.core.binary.encode import sized, u32
from anywasm.core.errors import ArgumentError, UnsupportedError
from anywasm.core.marshal.rules import BYTE_WIDTHS, bad_arguments
from anywasm.core.types import FuncType, ValueType

_FLOATS = {ValueType.F32: struct.Struct("<f"), ValueType.F64: struct.Struct("<d")}

#: The integer type of the same width, and the instructions that reinterpret to it and back.
_BITS = {
    ValueType.I32: (ValueType.I32, b"", b""),
    ValueType.I64: (ValueType.I64, b"", b""),
    ValueType.F32: (ValueType.I32, b"\xbc", b"\xbe"),
    ValueType.F64: (ValueType.I64, b"\xbd", b"\xbf"),
    ValueType.V128: (ValueType.V128, b"", b""),
}
_CODES = {
    ValueType.I32: b"\x7f",
    ValueType.I64: b"\x7e",
    ValueType.F32: b"\x7d",
    ValueType.F64: b"\x7c",
    ValueType.V128: b"\x7b",
}


def check_bits(name: str, type: FuncType, args: tuple[int, ...]) -> None:
    """Refuse what are no unsigned bits of the parameters.

    Raises:
        ArgumentError: For a wrong count, or bits wider than the type.
    """
    if len(args) != len(type.params):
        raise bad_arguments(name, type, args)
    for value, kind in zip(args, type.params):
        width = BYTE_WIDTHS.get(kind, 0)
        if not isinstance(value, int) or not 0 <= value < 1 << 8 * width:
            raise ArgumentError(f"{name}: {value!r} is no unsigned {kind} bits")


def value_bits(
    name: str, type: FuncType, call: Callable[..., Any], args: tuple[int, ...]
) -> int | tuple[int, ...] | None:
    """Call a bound export with raw bits, as far as Python floats can carry them.

    Args:
        name: The export's name, for messages.
        type: Its type.
        call: What `value_export` made of it.
        args: Unsigned bits, one int for each parameter.

    Raises:
        ArgumentError: For a wrong count, or bits wider than the type.
        UnsupportedError: For bits that a Python float would change (a signalling NaN of type f32),
            or values that cannot cross.
    """
    if not _BITS.keys() >= {*type.params, *type.results}:
        return call(*args)  # type: ignore[no-any-return]  # refuses
    check_bits(name, type, args)
    results = call(*(_from_bits(name, kind, bits) for kind, bits in zip(type.params, args)))
    if len(type.results) == 1:
        return _to_bits(type.results[0], results)
    return results and tuple(map(_to_bits, type.results, results))


def _from_bits(name: str, kind: ValueType, bits: int) -> float | bytes:
    if kind is ValueType.V128:
        return bits.to_bytes(16, "little")
    layout = _FLOATS.get(kind)
    if layout is None:
        return bits
    raw = bits.to_bytes(BYTE_WIDTHS[kind], "little")
    value: float = layout.unpack(raw)[0]
    if layout.pack(value) != raw:
        raise UnsupportedError(f"{name}: a Python float cannot carry the {kind} bits {bits:#x}")
    return value


def _to_bits(kind: ValueType, value: Any) -> int:
    if kind is ValueType.V128:
        return int.from_bytes(value, "little")
    layout = _FLOATS.get(kind)
    return value if layout is None else int.from_bytes(layout.pack(value), "little")


def bits_type(type: FuncType) -> FuncType:
    """The function type with integers in the place of floats."""
    return FuncType(
        tuple(_BITS[kind][0] for kind in type.params),
        tuple(_BITS[kind][0] for kind in type.results),
    )


def bits_adapter(type: FuncType) -> bytes:
    """A module that imports a function of this type and exports it with bits for floats.

    A Python float is an f64, and turning a signalling NaN of type f32 into one changes it: only
    the guest's side can take the bits as they are. The import is `"" "f"`, the export `f`.
    """
    count = len(type.params)
    body = b"".join(b"\x20" + u32(index) + _BITS[kind][2] for index, kind in enumerate(type.params))
    body += b"\x10\0"
    results = list(enumerate(type.results, count))
    body += b"".join(_BITS[kind][1] + b"\x21" + u32(index) for index, kind in reversed(results))
    body += b"".join(b"\x20" + u32(index) for index, _ in results) + b"\x0b"
    outside = bits_type(type)
    local = _vector([b"\x01" + _CODES[kind] for kind in outside.results])
    code = local + body
    sections = (
        (1, _vector([_func_type(type), _func_type(outside)])),
        (2, _vector([b"\0\x01f\0\0"])),
        (3, _vector([b"\x01"])),
        (7, _vector([b"\x01f\0\x01"])),
        (10, _vector([sized(code)])),
    )
    return b"\0asm\x01\0\0\0" + b"".join(
        bytes([number]) + sized(content) for number, content in sections
    )


def _func_type(type: FuncType) -> bytes:
    return b"\x60" + b"".join(
        _vector([_CODES[kind] for kind in kinds]) for kinds in (type.params, type.results)
    )


def _vector(items: list[bytes]) -> bytes:
    return u32(len(items)) + b"".join(items)
