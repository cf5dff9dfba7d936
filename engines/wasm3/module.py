"""A module that wasm3 can run, and what wasm3 must be told or spared about its binary."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.binary import ModuleInterface, function_names
from anywasm.core.binary.cursor import Cursor
from anywasm.core.binary.sections import HEADER_SIZE, SectionId, sections
from anywasm.core.binary.types import read_memory_type, read_table_type, read_types, read_value_type
from anywasm.core.errors import CompileError, InstantiationError
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.metering import MeteredGate, MeteringPlan
from anywasm.core.module import Module
from anywasm.core.types import ExternKind, FuncType, Limits, MemoryType
from anywasm.engines.fastcall import gate_lock
from anywasm.engines.wasm3.calls import Calls, Stack
from anywasm.engines.wasm3.errors import map_exceptions
from anywasm.engines.wasm3.instance import Wasm3Instance
from anywasm.engines.wasm3.memory import Wasm3Memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anywasm.engines.wasm3.vm import Wasm3VM

#: Blocks nested so little that wasm3 may compile them on any stack.
SHALLOW = 64
#: The longest table that wasm3 can have (d_m3MaxSaneTableSize).
_LONGEST_TABLE = 100_000
_AFTER_ELEMENTS = (SectionId.DATA_COUNT, SectionId.CODE, SectionId.DATA)
_I32_CONST, _END = 0x41, 0x0B

_BLOCK, _LOOP, _IF, _BR_TABLE = 0x02, 0x03, 0x04, 0x0E
_LEB = rb"[\x80-\xff]*[\x00-\x7f]"
#: Instructions in a row that open and close no block, with their immediates (core spec, section
#: 5.4). Validation came first, so bytes that are no instruction do not come up.
_ROW = re.compile(
    rb"(?:[\x00\x01\x05\x0f\x1a\x1b\x45-\xc4]"
    rb"|[\x0c\x0d\x10\x20-\x24\x3f-\x42]"
    + _LEB
    + rb"|[\x11\x28-\x3e]"
    + _LEB
    + _LEB
    + rb"|\x43.{4}|\x44.{8}|\xfc(?:[\x00-\x07]|\x0a..|\x0b.)){1,1000}",
    re.DOTALL,
)
#: Stands in an artifact for the guest of a module that wasm3 cannot instantiate.
NO_GUEST = b"none"
_LENGTH = 4
#: Bytes of wasm3's stack that a local takes at least.
_SLOT = 4


@dataclass(frozen=True, slots=True)
class Guest:
    """A binary as wasm3 is given it.

    Attributes:
        wasm: The binary, with a table that is as long as declared.
        unfit: Why it cannot be instantiated, or None.
        memory: The type of its memory, if it has one.
        nesting: How deep its blocks nest at most, which is how deep wasm3's compiler recurses.
        ratio: The native bytes that its calls take for one byte of wasm3's stack, at most.
    """

    wasm: bytes
    unfit: str | None
    memory: MemoryType | None
    nesting: int
    ratio: int

    def pack(self) -> bytes:
        """All of it as bytes."""
        limits = None if self.memory is None else self.memory.limits
        memory = None if limits is None else [limits.minimum, limits.maximum]
        head = json.dumps([self.unfit, memory, self.nesting, self.ratio]).encode()
        return len(head).to_bytes(_LENGTH, "little") + head + self.wasm

    @classmethod
    def unpack(cls, data: bytes) -> Guest | None:
        """What was packed, or None of `NO_GUEST`.

        Raises:
            CompileError: When that cannot be.
        """
        if data == NO_GUEST:
            return None
        end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
        try:
            unfit, memory, nesting, ratio = json.loads(data[_LENGTH:end])
            limits = None if memory is None else MemoryType(Limits(*memory))
        except (ValueError, TypeError) as error:
            raise CompileError(f"damaged artifact: {error}") from error
        return cls(data[end:], unfit, limits, nesting, ratio)


class Wasm3Module(Module):
    """A valid binary; wasm3 parses and compiles it anew for each instance, which is quick.

    Attributes:
        library: The wasm3 that runs it.
        plan: How its code is metered.
    """

    def __init__(
        self, vm: Wasm3VM, interface: ModuleInterface, sections: bytes, guest: Guest | None
    ) -> None:
        """Wrap a binary.

        Args:
            vm: The engine.
            interface: The original's.
            sections: The sections that it was read from.
            guest: The metered binary for wasm3; None where it asks for imports that wasm3 cannot
                have.
        """
        super().__init__(vm, interface)
        self.library = vm.library
        self.plan = MeteringPlan.of(interface)
        self._interface = interface
        self._vm = vm
        self._sections = sections
        self._guest = guest
        self._starts = interface.start is not None
        imported = len(interface.imports)
        self._entries = {
            self.plan.index(export.index)
            for export in interface.exports
            if export.kind is ExternKind.FUNCTION and export.index >= imported
        }
        self._names: dict[int, str] | None = None

    def function_name(self, index: int) -> str:
        """A metered function's name from the name section, or `func[INDEX]`."""
        index = self.plan.original(index)
        if self._names is None:
            self._names = function_names(self.custom_sections)
        return self._names.get(index, f"func[{index}]")

    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> Instance:
        vm, guest = self._vm, cast(Guest, self._guest)
        limits = limits or ResourceLimits()
        if guest.unfit is not None:
            raise InstantiationError(guest.unfit)
        gate = MeteredGate("the instance", lock=gate_lock())
        gate.limit(limits)
        gate.admit(self._interface)
        machine = None
        try:
            with map_exceptions(InstantiationError, "the module cannot be instantiated"):
                machine = vm.load_machine(guest, guest.wasm)
                memory = Wasm3Memory(vm.library, gate, machine)
                if guest.memory is not None:
                    memory.limit(guest.memory.limits.maximum, limits.memory_bytes)
                calls = Calls(vm, guest.ratio, gate, machine, memory, self.function_name)
                for index, (wanted, fn) in enumerate(zip(self.imports, imports)):
                    name = f"{wanted.module}.{wanted.name}"
                    machine.link(index, *calls.bind_host(name, cast(FuncType, wanted.type), fn))
                machine.link(self.plan.taken, calls.bind_check())
                # The rest is compiled on demand, which makes instances cheap; wasm3's compiler must
                # recurse so little then that it may run at any depth of the guest's stack.
                shallow = guest.nesting <= SHALLOW
                machine.compile(self._entries if shallow else None)
            if self._starts:
                with gate.bound_start(limits.start_seconds):
                    calls.start()
        except BaseException:
            if machine is not None:
                machine.close()
            raise
        return Wasm3Instance(self, gate, machine, memory, calls)

    def _serialize(self) -> tuple[bytes, bytes]:
        return self._sections, NO_GUEST if self._guest is None else self._guest.pack()


def prepare(wasm: bytes, stack: Stack) -> Guest:
    """Look at what wasm3 does not: how long the table is, kinds of segments, depths of blocks.

    Args:
        wasm: A valid binary that imports functions only.
        stack: Tells what frames take.

    Raises:
        CompileError: When it has segments that wasm3 would misread, or blocks too deep for it.
    """
    types: list[FuncType | None] = []
    functions: Sequence[int] = ()
    memory, table, count, elements, unfit = None, 0, 0, b"", None
    nesting, ratio = 0, stack.ratio(0, 0)
    place = None
    for section in sections(wasm):
        body = section.body
        if section.id in _AFTER_ELEMENTS and place is None:
            place = section.start, section.start
        if section.id is SectionId.TYPE:
            types = read_types(body)
        elif section.id is SectionId.FUNCTION:
            functions = body.u32_vector()
        elif section.id is SectionId.TABLE and body.u32():
            table = read_table_type(body).limits.minimum
        elif section.id is SectionId.MEMORY and body.u32():
            memory = read_memory_type(body)
        elif section.id is SectionId.ELEMENT:
            place = section.start, body.end
            count = body.u32()
            elements = wasm[body.position : body.end]
            unfit = _read_elements(body, count, table)
        elif section.id is SectionId.CODE:
            nesting, ratio = _read_code(wasm, body, [types[index] for index in functions], stack)
        elif section.id is SectionId.DATA:
            _check_data(body)
    if 0 < table <= _LONGEST_TABLE and unfit is None:
        # wasm3 reads no table section: its table ends with the last element. An empty segment at
        # the end of the declared one makes it as long.
        start, end = place or (len(wasm), len(wasm))
        content = _leb(count + 1) + elements + b"\0\x41" + _leb(table, signed=True) + b"\x0b\0"
        wasm = wasm[:start] + b"\x09" + _leb(len(content)) + content + wasm[end:]
    return Guest(wasm, unfit, memory, nesting, ratio)


def _read_elements(cursor: Cursor, count: int, table: int) -> str | None:
    """Why the element segments do not fit the table, or None."""
    unfit = None
    for segment in range(count):
        offset = _read_offset(cursor)
        length = cursor.count()
        for _ in range(length):
            cursor.u32()
        if offset + length > table:
            unfit = (
                f"element segment {segment} ends at {offset + length}, out of bounds of the table "
                f"of {table} elements"
            )
    return unfit


def _check_data(cursor: Cursor) -> None:
    for _ in range(cursor.count()):
        _read_offset(cursor)
        cursor.bytes(cursor.u32())


def _read_offset(cursor: Cursor) -> int:
    """Where an active segment of the first version begins; refuses all others."""
    start = cursor.position
    if cursor.u32() != 0 or cursor.u8() != _I32_CONST:
        raise cursor.error("wasm3 has only active segments of table or memory 0", start)
    offset = cursor.s32() & 0xFFFFFFFF
    if cursor.u8() != _END:
        raise cursor.error("wasm3 has no extended constant expressions", start)
    return offset


def without_memory(wasm: bytes) -> bytes:
    """The same code with an empty memory and no data: a trial of it takes no memory."""
    kept = [wasm[:HEADER_SIZE]]
    for section in sections(wasm):
        if section.id is SectionId.MEMORY:
            kept.append(bytes((SectionId.MEMORY, 3, 1, 0, 0)))
        elif section.id not in (SectionId.CUSTOM, SectionId.DATA, SectionId.DATA_COUNT):
            kept.append(wasm[section.start : section.body.end])
    return b"".join(kept)


def _read_code(
    wasm: bytes, cursor: Cursor, types: list[FuncType | None], stack: Stack
) -> tuple[int, int]:
    """The deepest nesting of blocks, and the worst ratio of native stack to wasm3's."""
    deepest, worst = 0, stack.ratio(0, 0)
    for func_type in types[: cursor.count()]:
        size = cursor.u32()
        end = cursor.position + size
        frame = 0 if func_type is None else 8 * len(func_type.params + func_type.results)
        for _ in range(cursor.count()):
            frame += _SLOT * cursor.u32()
            read_value_type(cursor)
        start = cursor.position
        # For most functions counting the bytes that may open a block settles it.
        loops = wasm.count(_LOOP, start, end)
        depth = loops + wasm.count(_BLOCK, start, end) + wasm.count(_IF, start, end)
        if depth > max(deepest, SHALLOW) or stack.ratio(loops, frame) > worst:
            depth, loops = _nesting(wasm, cursor, end)
        deepest = max(deepest, depth)
        worst = max(worst, stack.ratio(loops, frame))
        cursor.position = end
    return deepest, worst


def _nesting(wasm: bytes, cursor: Cursor, end: int) -> tuple[int, int]:
    """How deep blocks nest in the instructions up to `end`, and loops among them."""
    open_blocks: list[bool] = []
    depth = loops = most_loops = 0
    while True:
        row = _ROW.match(wasm, cursor.position, end)
        if row:
            cursor.position = row.end()
            continue
        opcode = cursor.u8()
        if opcode == _END:
            if not open_blocks:
                return depth, most_loops
            loops -= open_blocks.pop()
        elif opcode in (_BLOCK, _LOOP, _IF):
            cursor.s33()
            open_blocks.append(opcode == _LOOP)
            loops += opcode == _LOOP
            depth, most_loops = max(depth, len(open_blocks)), max(most_loops, loops)
        elif opcode == _BR_TABLE:
            for _ in range(cursor.count() + 1):
                cursor.u32()
        else:
            raise cursor.error(f"wasm3 has no instruction {opcode:#04x}", cursor.position - 1)


def _leb(value: int, *, signed: bool = False) -> bytes:
    """A number of at least 0 in LEB128."""
    encoded = bytearray()
    while value >= (0x40 if signed else 0x80):
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))
