"""Function bodies that count what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.core.binary.encode import signed, u32
from anywasm.core.binary.types import read_value_type
from anywasm.core.metering.gate import TABLE
from anywasm.core.metering.instructions import (
    BR_TABLE,
    BULK,
    CALL,
    LOOP,
    MEMORY_COPY,
    MEMORY_FILL,
    MEMORY_GROW,
    MEMORY_INIT,
    REF_FUNC,
    SELECT_TYPED,
    TABLE_COPY,
    TABLE_FILL,
    TABLE_GROW,
    TABLE_INIT,
    VECTOR,
    immediates,
    row_without,
)

if TYPE_CHECKING:
    from anywasm.core.binary.cursor import Cursor
    from anywasm.core.errors import CompileError
    from anywasm.core.metering.plan import MeteringPlan

#: What loops of one call may count in a local before it is taken from the fuel; paid in advance.
RESERVE = 256
#: Bytes of code, or of memory filled by one instruction, that cost a unit of fuel: 2 to that power.
_UNIT_LOG2 = 6

#: i64.extend_i32_u, and after it the division of a number of bytes by those of a unit.
_EXTEND = b"\xad"
_IN_UNITS = b"\x42" + signed(_UNIT_LOG2) + b"\x88"
#: Instructions that take as long as the number on top of the stack says: how many immediates they
#: have, and how that number, as an i64, becomes units.
_LONG = {
    bytes((BULK, number)): (count, in_units)
    for number, count, in_units in (
        (MEMORY_INIT, 2, _IN_UNITS),
        (MEMORY_COPY, 2, _IN_UNITS),
        (MEMORY_FILL, 1, _IN_UNITS),
        (TABLE_INIT, 2, b""),
        (TABLE_COPY, 2, b""),
        (TABLE_FILL, 1, b""),
    )
}
_TABLE_GROW = bytes((BULK, TABLE_GROW))
#: memory.size; table.size, and what tells the check that it is a table's.
_MEMORY_SIZE = b"\x3f\0"
_TABLE_SIZE, _MARKED = b"\xfc\x10", b"\x41" + signed(TABLE) + b"\x72"


class CodeMeter:
    """Rewrites the function bodies of one module.

    At its entry a function takes its size from the fuel. At the head of a loop the size of what
    follows is added to a local, and that is taken from the fuel once it is `RESERVE`. Since code
    goes back nowhere but to the head of a loop, no more is executed than is counted. What a single
    instruction copies is counted before it, and before memories and tables grow the host is asked
    in any case, which looks at the time and says by how much they may.
    """

    def __init__(self, wasm: bytes, plan: MeteringPlan, fuel: int) -> None:
        """Prepare for a module.

        Args:
            wasm: The binary, valid.
            plan: What is added to it.
            fuel: The index of the fuel's global.
        """
        self._wasm = wasm
        self._taken = plan.taken
        self._moved = u32(plan.moved)
        self._match = row_without(plan.taken).match
        self._get = b"\x23" + u32(fuel)
        call = b"\x10" + u32(plan.taken)
        #: Calls the check with (-1, -1); the answer is the new fuel.
        self._check = b"\x41\x7f\x41\x7f" + call + b"\x24" + u32(fuel)
        #: After what is to be added, and the size: the check, whose answer is what may be added.
        self._allowed = call + b"\xa7"
        # After the fuel and an i64: i64.sub, global.set, and where that is below 0 the check.
        self._take = (
            b"\x7d\x24" + u32(fuel) + self._get + b"\x42\0\x53\x04\x40" + self._check + b"\x0b"
        )
        self._heads: dict[tuple[int, int], bytes] = {}

    def body(self, cursor: Cursor, params: int) -> bytes:
        """The function body at the cursor, metered, of a function with that many parameters.

        Raises:
            CompileError: For an instruction that is not known here.
        """
        size = cursor.count()
        end = cursor.position + size
        groups = cursor.count()
        start, known = cursor.position, params
        for _ in range(groups):
            known += cursor.u32()
            read_value_type(cursor)
        declared = self._wasm[start : cursor.position]
        pieces, loops, added = self._instructions(cursor, end, known)
        if added:
            groups += 1
            declared += u32(added) + b"\x7f"
        entry = 1 + (size >> _UNIT_LOG2) + RESERVE * loops
        pieces[:0] = u32(groups), declared, self._get, b"\x42", signed(entry), self._take
        return b"".join(pieces)

    def _instructions(self, cursor: Cursor, end: int, known: int) -> tuple[list[bytes], bool, int]:
        """The instructions up to `end`, whether loops are among them, and how many locals to add.

        The first of those, after the `known` ones, is what loops count in, if there are any.
        """
        wasm, match = self._wasm, self._match
        pieces: list[bytes] = []
        counter = length = None
        added = 0
        done = position = cursor.position
        while True:
            row = match(wasm, position, end)
            if row is not None:
                position = row.end()
                continue
            if position >= end:
                pieces.append(wasm[done:end])
                cursor.position = end
                return pieces, counter is not None, added
            start = position
            opcode = wasm[position]
            cursor.position = position + 1
            if opcode == LOOP:
                cursor.s33()
                if counter is None:
                    counter = known + added
                    added += 1
                pieces += (
                    wasm[done : cursor.position],
                    self._head(counter, 1 + (end - start >> _UNIT_LOG2)),
                )
                done = cursor.position
            elif opcode in (CALL, REF_FUNC):
                if cursor.u32() != self._taken:
                    raise cursor.error("unknown form of a function's index", start)
                pieces += wasm[done : start + 1], self._moved
                done = cursor.position
            elif opcode == BR_TABLE:
                for _ in range(cursor.count() + 1):
                    cursor.u32()
            elif opcode == SELECT_TYPED:
                for _ in range(cursor.count()):
                    read_value_type(cursor)
            elif opcode == MEMORY_GROW:
                cursor.u32()
                pieces += wasm[done:start], _MEMORY_SIZE, self._allowed
                done = start
            elif opcode in (BULK, VECTOR):
                # Engines, too, may know numbers behind a prefix in their shortest form only.
                short = wasm[start : start + 1] + u32(cursor.u32())
                pieces.append(wasm[done:start])
                done = cursor.position
                if short == _TABLE_GROW:
                    pieces += _TABLE_SIZE + u32(cursor.u32()) + _MARKED, self._allowed
                elif short in _LONG:
                    if length is None:
                        length = known + added
                        added += 1
                    count, in_units = _LONG[short]
                    for _ in range(count):
                        cursor.u32()
                    taken = b"\x22%b%b\x20%b" % (u32(length), self._get, u32(length))
                    pieces += taken, _EXTEND, in_units, self._take
                elif (size := immediates(short, wasm, done, end)) is not None:
                    cursor.position += size
                else:
                    raise self._unknown(cursor, start, end)
                pieces.append(short)
            else:
                raise self._unknown(cursor, start, end)
            position = cursor.position

    def _unknown(self, cursor: Cursor, start: int, end: int) -> CompileError:
        what = self._wasm[start : min(start + 2, end)].hex(" ")
        return cursor.error(f"an instruction that cannot be metered: {what}", start)

    def _head(self, counter: int, units: int) -> bytes:
        """What stands at the head of a loop."""
        head = self._heads.get((counter, units))
        if head is None:
            local = u32(counter)
            head = self._heads[counter, units] = b"".join(
                (
                    # The local plus the units, and whether that is the reserve by now.
                    b"\x20%b\x41%b\x6a\x22%b" % (local, signed(units), local),
                    b"\x41" + signed(RESERVE) + b"\x4f\x04\x40",
                    self._get + b"\x20" + local + _EXTEND + self._take,
                    b"\x41\0\x21" + local + b"\x0b",
                )
            )
        return head
