"""Constant expressions, of which only the end matters to a reader of interfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.core.binary.cursor import Cursor
from anywasm.core.binary.types import read_heap_type

if TYPE_CHECKING:
    from collections.abc import Callable

    #: What reads one immediate.
    Immediate = Callable[[Cursor], object]


def _fixed(size: int) -> Immediate:
    return lambda cursor: cursor.bytes(size)


_END = 0x0B
#: The constant instructions (core spec, section 3.4.14) and their immediates. Two-byte opcodes are
#: a prefix and a number.
_INSTRUCTIONS: dict[int | tuple[int, int], tuple[Immediate, ...]] = {
    0x23: (Cursor.u32,),  # global.get
    0x41: (Cursor.s32,),  # i32.const
    0x42: (Cursor.s64,),  # i64.const
    0x43: (_fixed(4),),  # f32.const
    0x44: (_fixed(8),),  # f64.const
    **dict.fromkeys((0x6A, 0x6B, 0x6C), ()),  # i32.add, i32.sub, i32.mul
    **dict.fromkeys((0x7C, 0x7D, 0x7E), ()),  # i64.add, i64.sub, i64.mul
    0xD0: (read_heap_type,),  # ref.null
    0xD2: (Cursor.u32,),  # ref.func
    (0xFB, 0): (Cursor.u32,),  # struct.new
    (0xFB, 1): (Cursor.u32,),  # struct.new_default
    (0xFB, 6): (Cursor.u32,),  # array.new
    (0xFB, 7): (Cursor.u32,),  # array.new_default
    (0xFB, 8): (Cursor.u32, Cursor.u32),  # array.new_fixed
    (0xFB, 26): (),  # any.convert_extern
    (0xFB, 27): (),  # extern.convert_any
    (0xFB, 28): (),  # ref.i31
    (0xFD, 12): (_fixed(16),),  # v128.const
}
_PREFIXES = (0xFB, 0xFD)


def skip_expression(cursor: Cursor) -> None:
    """Move past a constant expression and its `end`.

    Raises:
        CompileError: It is cut off, or has an instruction that is not constant or not known.
    """
    while True:
        start = cursor.position
        opcode: int | tuple[int, int] = cursor.u8()
        if opcode == _END:
            return
        if opcode in _PREFIXES:
            opcode = (opcode, cursor.u32())
        immediates = _INSTRUCTIONS.get(opcode)
        if immediates is None:
            raise cursor.error("no constant instruction, or one of an unsupported proposal", start)
        for read in immediates:
            read(cursor)
