"""Modules that hold one thing and export it under the empty name: how a host makes it."""

from __future__ import annotations

import ctypes
from typing import Any

from anywasm.core.binary.encode import signed, sized, u32
from anywasm.core.types import GlobalType, Limits, MemoryType, TableType, ValueType

_HEADER = b"\0asm\x01\0\0\0"
_TABLE, _MEMORY, _GLOBAL, _EXPORT = 4, 5, 6, 7
_CODES = {
    ValueType.I32: 0x7F,
    ValueType.I64: 0x7E,
    ValueType.F32: 0x7D,
    ValueType.F64: 0x7C,
    ValueType.V128: 0x7B,
    ValueType.FUNCREF: 0x70,
    ValueType.EXTERNREF: 0x6F,
}
_END = b"\x0b"


def memory_module(type: MemoryType) -> bytes:
    """A module with a memory of that type."""
    flags = 2 * type.shared + 4 * type.memory64
    content = _limits(type.limits, flags + 8 * (type.page_size != 65536))
    if type.page_size != 65536:
        content += u32(type.page_size.bit_length() - 1)
    return _module(_MEMORY, 2, content)


def table_module(type: TableType) -> bytes:
    """A module with a table of that type, full of nulls.

    Raises:
        KeyError: For an element type without a short spelling.
    """
    limits = _limits(type.limits, 4 * type.table64)
    return _module(_TABLE, 1, bytes((_CODES[type.element],)) + limits)


def global_module(type: GlobalType, value: float | bytes | None) -> bytes:
    """A module with a global of that type.

    Args:
        type: Its type.
        value: A number or vector of that type; None for a null reference.

    Raises:
        KeyError: For a value type without a short spelling.
    """
    content = bytes((_CODES[type.value], type.mutable)) + _constant(type.value, value)
    return _module(_GLOBAL, 3, content + _END)


def _constant(type: ValueType, value: Any) -> bytes:
    """The instruction that makes the value."""
    if type is ValueType.I32:
        return b"\x41" + signed((value + (1 << 31)) % (1 << 32) - (1 << 31))
    if type is ValueType.I64:
        return b"\x42" + signed((value + (1 << 63)) % (1 << 64) - (1 << 63))
    if type is ValueType.F32:
        return b"\x43" + bytes(ctypes.c_float(value))
    if type is ValueType.F64:
        return b"\x44" + bytes(ctypes.c_double(value))
    if type is ValueType.V128:
        return b"\xfd\x0c" + bytes(value)
    return bytes((0xD0, _CODES[type]))


def _limits(limits: Limits, flags: int) -> bytes:
    if limits.maximum is None:
        return u32(flags) + u32(limits.minimum)
    return u32(flags | 1) + u32(limits.minimum) + u32(limits.maximum)


def _module(section: int, kind: int, content: bytes) -> bytes:
    """A module with one entry in that section, which the export section names."""
    return (
        _HEADER
        + bytes((section,))
        + sized(u32(1) + content)
        + bytes((_EXPORT,))
        + sized(u32(1) + sized(b"") + bytes((kind,)) + u32(0))
    )
