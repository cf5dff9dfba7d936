"""Types in the binary format (core spec, section 5.3), one reader each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.core.types import FuncType, GlobalType, Limits, MemoryType, TableType, ValueType

if TYPE_CHECKING:
    from anywasm.core.binary.cursor import Cursor

#: The abstract heap types, each also the short spelling of the nullable reference to it.
_HEAP_TYPES = {
    0x70: ValueType.FUNCREF,
    0x6F: ValueType.EXTERNREF,
    # What WebAssembly 3.0 added: any, eq, i31, struct, array, exn; none, noextern, nofunc, noexn.
    **dict.fromkeys((*range(0x69, 0x6F), *range(0x71, 0x75)), ValueType.REF),
}
_VALUE_TYPES = {
    0x7F: ValueType.I32,
    0x7E: ValueType.I64,
    0x7D: ValueType.F32,
    0x7C: ValueType.F64,
    0x7B: ValueType.V128,
    **_HEAP_TYPES,
}
_PACKED_TYPES = {0x78, 0x77}  # i8, i16: only as fields of structs and arrays

_REF, _REF_NULL = 0x64, 0x63
_FUNC, _STRUCT, _ARRAY = 0x60, 0x5F, 0x5E
_SUB, _SUB_FINAL, _REC = 0x50, 0x4F, 0x4E

_HAS_MAXIMUM, _SHARED, _INDEX_64, _CUSTOM_PAGE_SIZE = 1, 2, 4, 8
_MAXIMUM_PAGE_SIZE_LOG2 = 16


def read_heap_type(cursor: Cursor) -> ValueType:
    """Read a heap type, and return the type of a nullable reference to it."""
    start = cursor.position
    code = cursor.s33()
    if code >= 0:  # a type index
        return ValueType.REF
    # Abstract types are single bytes, which as signed numbers are negative.
    value_type = _HEAP_TYPES.get(code + 0x80)
    if value_type is None:
        raise cursor.error(f"unknown heap type {code}", start)
    return value_type


def read_value_type(cursor: Cursor) -> ValueType:
    """Read a value type; a reference type newer than WebAssembly 2.0 is `ValueType.REF`."""
    code = cursor.u8()
    value_type = _VALUE_TYPES.get(code)
    if value_type is not None:
        return value_type
    if code == _REF_NULL:
        return read_heap_type(cursor)
    if code == _REF:
        read_heap_type(cursor)
        return ValueType.REF
    raise cursor.error(f"unknown value type {code:#04x}", cursor.position - 1)


def read_types(cursor: Cursor) -> list[FuncType | None]:
    """Read the type section: the type index space, with None for all that is no function type."""
    types: list[FuncType | None] = []
    for _ in range(cursor.count(2)):
        form = cursor.u8()
        if form == _REC:
            types.extend(_read_sub_type(cursor, cursor.u8()) for _ in range(cursor.count(2)))
        else:
            types.append(_read_sub_type(cursor, form))
    return types


def read_memory_type(cursor: Cursor) -> MemoryType:
    """Read a memory type, with the flags of threads, memory64 and custom page sizes."""
    flags = _read_flags(cursor, _HAS_MAXIMUM | _SHARED | _INDEX_64 | _CUSTOM_PAGE_SIZE)
    limits = _read_limits(cursor, flags)
    page_size_log2 = 16
    if flags & _CUSTOM_PAGE_SIZE:
        start = cursor.position
        page_size_log2 = cursor.u32()
        if page_size_log2 > _MAXIMUM_PAGE_SIZE_LOG2:
            raise cursor.error(f"a page of 2**{page_size_log2} bytes is too large", start)
    return MemoryType(
        limits,
        shared=bool(flags & _SHARED),
        memory64=bool(flags & _INDEX_64),
        page_size=1 << page_size_log2,
    )


def read_table_type(cursor: Cursor) -> TableType:
    """Read a table type."""
    start = cursor.position
    element = read_value_type(cursor)
    if element not in (ValueType.FUNCREF, ValueType.EXTERNREF, ValueType.REF):
        raise cursor.error(f"a table holds references, not {element}", start)
    flags = _read_flags(cursor, _HAS_MAXIMUM | _INDEX_64)
    return TableType(element, _read_limits(cursor, flags), table64=bool(flags & _INDEX_64))


def read_global_type(cursor: Cursor) -> GlobalType:
    """Read a global type."""
    return GlobalType(read_value_type(cursor), mutable=_read_mutability(cursor))


def _read_sub_type(cursor: Cursor, form: int) -> FuncType | None:
    if form in (_SUB, _SUB_FINAL):
        for _ in range(cursor.count()):
            cursor.u32()
        form = cursor.u8()
    if form == _FUNC:
        return FuncType(_read_result_type(cursor), _read_result_type(cursor))
    if form == _STRUCT:
        for _ in range(cursor.count(2)):
            _skip_field(cursor)
    elif form == _ARRAY:
        _skip_field(cursor)
    else:
        raise cursor.error(f"unknown form of type {form:#04x}", cursor.position - 1)
    return None


def _read_result_type(cursor: Cursor) -> tuple[ValueType, ...]:
    return tuple([read_value_type(cursor) for _ in range(cursor.count())])


def _skip_field(cursor: Cursor) -> None:
    start = cursor.position
    if cursor.u8() not in _PACKED_TYPES:
        cursor.position = start
        read_value_type(cursor)
    _read_mutability(cursor)


def _read_mutability(cursor: Cursor) -> bool:
    mutability = cursor.u8()
    if mutability > 1:
        raise cursor.error(f"mutability {mutability:#04x} is not 0 or 1", cursor.position - 1)
    return mutability == 1


def _read_flags(cursor: Cursor, known: int) -> int:
    flags = cursor.u8()
    if flags & ~known:
        raise cursor.error(f"unknown flags {flags:#04x} of limits", cursor.position - 1)
    return flags


def _read_limits(cursor: Cursor, flags: int) -> Limits:
    read = cursor.u64 if flags & _INDEX_64 else cursor.u32
    minimum = read()
    return Limits(minimum, read() if flags & _HAS_MAXIMUM else None)
