"""The shapes of instructions, for walking code without understanding it."""

from __future__ import annotations

import re
from functools import lru_cache

_LEB = rb"[\x80-\xff]*[\x00-\x7f]"

#: Instructions with their immediates (core spec 2.0, section 5.4), but for those that are looked at
#: one by one. They are matched many at a time, which is what makes it fast. Numbers behind a prefix
#: are in their shortest form, as all tools write them; others are looked at, too.
_PLAIN = (
    # Without immediates: control, drop and select, comparison and arithmetic, ref.is_null.
    rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\x45-\xc4\xd1]"
    # One number: blocks (their type), branches, locals, globals, tables, memory.size, constants,
    # ref.null.
    rb"|[\x02\x04\x0c\x0d\x20-\x26\x3f\x41\x42\xd0]" + _LEB,
    # Two: call_indirect, loads and stores.
    rb"[\x11\x28-\x3e]" + _LEB + _LEB,
    rb"\x43.{4}|\x44.{8}",
    # Saturating conversions; data.drop, elem.drop, table.size.
    rb"\xfc(?:[\x00-\x07]|[\x09\x0d\x10]" + _LEB + rb")",
    # Vectors: loads and stores, constants and shuffles, lanes, lanes of memory, all the rest.
    rb"\xfd(?:[\x00-\x0b\x5c\x5d]"
    + _LEB
    + _LEB
    + rb"|[\x0c\x0d].{16}|[\x15-\x22].|[\x54-\x5b]"
    + _LEB
    + _LEB
    + rb".|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff][\x01-\x7f])",
)

#: The others.
LOOP, BR_TABLE, CALL, SELECT_TYPED, MEMORY_GROW, REF_FUNC = 0x03, 0x0E, 0x10, 0x1C, 0x40, 0xD2
#: What stands before the numbers of the rest: of these, and of vectors.
BULK, VECTOR = 0xFC, 0xFD
MEMORY_INIT, MEMORY_COPY, MEMORY_FILL = 8, 10, 11
TABLE_INIT, TABLE_COPY, TABLE_GROW, TABLE_FILL = 12, 14, 15, 17

_ONE = re.compile(b"|".join(_PLAIN), re.DOTALL)
#: More than any instruction's immediates that need no look: two numbers and a lane, or 16 bytes.
_LONGEST = 32


def immediates(short: bytes, wasm: bytes, position: int, end: int) -> int | None:
    """How many bytes of immediates an instruction has that needs no look.

    Args:
        short: The instruction itself, in its shortest form; it may stand there in another.
        wasm: The module.
        position: Where its immediates begin.
        end: Where the code ends.

    Returns:
        None for one that is not known, or not whole.
    """
    one = _ONE.match(short + wasm[position : min(position + _LONGEST, end)])
    return None if one is None else one.end() - len(short)


@lru_cache(maxsize=16)
def row_without(function: int) -> re.Pattern[bytes]:
    """Matches instructions in a row of which none needs a look, nor names this function."""
    # Linkers pad function indices to five bytes.
    forms = b"|".join(
        re.escape(_padded(function, size)) for size in range(1, 6) if not function >> 7 * size
    )
    calls = rb"[\x10\xd2](?!" + forms + rb")" + _LEB
    # More in one match would take much memory.
    return re.compile(rb"(?:" + b"|".join((*_PLAIN, calls)) + rb"){1,1000}", re.DOTALL)


def _padded(value: int, size: int) -> bytes:
    septets = [value >> 7 * place & 0x7F for place in range(size)]
    return bytes([septet | 0x80 for septet in septets[:-1]] + septets[-1:])
