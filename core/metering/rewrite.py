"""The sections of a metered module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.core.binary.cursor import Cursor
from anywasm.core.binary.encode import signed, sized, u32
from anywasm.core.binary.expressions import skip_expression
from anywasm.core.binary.sections import HEADER_SIZE, SectionId, sections
from anywasm.core.binary.types import read_global_type, read_types, read_value_type
from anywasm.core.limits import MOST_TABLE_ELEMENTS
from anywasm.core.metering.code import CodeMeter
from anywasm.core.metering.gate import SLICE
from anywasm.core.metering.instructions import REF_FUNC
from anywasm.core.types import ExternKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anywasm.core.binary import ModuleInterface
    from anywasm.core.metering.plan import MeteringPlan
    from anywasm.core.types import FuncType

#: Sections in their order in a module; those of an engine's own proposals are not metered.
_ORDER = (
    SectionId.TYPE,
    SectionId.IMPORT,
    SectionId.FUNCTION,
    SectionId.TABLE,
    SectionId.MEMORY,
    SectionId.GLOBAL,
    SectionId.EXPORT,
    SectionId.START,
    SectionId.ELEMENT,
    SectionId.DATA_COUNT,
    SectionId.CODE,
    SectionId.DATA,
)
_FUNCTION_KIND, _GLOBAL_KIND = 0, 3
_NAMES = "name"


def meter(wasm: bytes, interface: ModuleInterface, plan: MeteringPlan) -> bytes:
    """Make a module do the same and count what it does, so that it can be stopped.

    A counter, the fuel, goes down as code is executed (see `CodeMeter`); when it is spent, the
    guest calls the import `plan.check`, which ends it by an exception or gives it more. One pass,
    linear in time and memory.

    Args:
        wasm: A valid binary: what is invalid about another one may be gone in the result.
        interface: What `read_interface` finds in it.
        plan: `MeteringPlan.of(interface)`.

    Returns:
        The metered binary, with no custom sections but the names.

    Raises:
        CompileError: For instructions or sections that are not known here, and for some modules
            that are not valid.
    """
    return _Rewriter(wasm, interface, plan).run()


class _Rewriter:
    def __init__(self, wasm: bytes, interface: ModuleInterface, plan: MeteringPlan) -> None:
        self._wasm = wasm
        self._plan = plan
        self._moved = u32(plan.moved)
        self._types: list[FuncType | None] = []
        self._functions: Sequence[int] = ()
        self._globals = sum(wanted.kind is ExternKind.GLOBAL for wanted in interface.imports)

    def run(self) -> bytes:
        wasm = self._wasm
        bodies: dict[SectionId, Cursor] = {}
        names = b""
        for section in sections(wasm):
            if section.id is not SectionId.CUSTOM:
                bodies[section.id] = section.body
                if section.id not in _ORDER:
                    raise section.body.error("it cannot be metered", section.start)
            elif section.body.name() == _NAMES and not names:
                names = wasm[section.start : section.body.end]
        rewritten: list[bytes] = [wasm[:HEADER_SIZE]]
        for number in _ORDER:
            rewrite = _REWRITERS.get(number)
            body = bodies.get(number)
            if rewrite is not None and (body is not None or number in _ADDED):
                # What is added goes into an empty section where there is none.
                content = rewrite(self, body or Cursor(b"\0", 0, 1, str(number)))
            elif body is not None:
                content = wasm[body.position : body.end]
            else:
                continue
            rewritten.append(bytes((number,)) + sized(content))
        rewritten.append(names)
        return b"".join(rewritten)

    def _type(self, cursor: Cursor) -> bytes:
        start = cursor.position
        count = cursor.count()
        rest = self._rest(cursor)
        cursor.position = start
        self._types = read_types(cursor)
        # (i32, i32) -> i64
        return u32(count + 1) + rest + b"\x60\x02\x7f\x7f\x01\x7e"

    def _import(self, cursor: Cursor) -> bytes:
        check = self._plan.check
        count = cursor.count()
        added = sized(check.module.encode()) + sized(check.name.encode())
        return u32(count + 1) + self._rest(cursor) + added + b"\0" + u32(len(self._types))

    def _function(self, cursor: Cursor) -> bytes:
        functions = self._functions = cursor.u32_vector()
        moved = [*functions[1:], *functions[:1]]
        return u32(len(moved)) + b"".join(map(u32, moved))

    def _table(self, cursor: Cursor) -> bytes:
        """Tables with a maximum: growing by what the check gives for "no" must fail."""
        count = cursor.count()
        pieces = [u32(count)]
        for _ in range(count):
            start = cursor.position
            read_value_type(cursor)
            pieces.append(self._wasm[start : cursor.position])
            flags, least = cursor.u8(), cursor.u32()
            if flags > 1:
                raise cursor.error("it cannot be metered", start)
            most = cursor.u32() if flags else max(least, MOST_TABLE_ELEMENTS)
            pieces.append(b"\x01" + u32(least) + u32(most))
        return b"".join(pieces)

    def _global(self, cursor: Cursor) -> bytes:
        count = cursor.count()
        pieces = [u32(count + 1)]
        for _ in range(count):
            start = cursor.position
            read_global_type(cursor)
            pieces += self._wasm[start : cursor.position], self._expression(cursor)
        self._globals += count
        # Enough for most start functions; a longer one asks, and may be under a deadline.
        pieces.append(b"\x7e\x01\x42" + signed(SLICE) + b"\x0b")
        return b"".join(pieces)

    def _export(self, cursor: Cursor) -> bytes:
        count = cursor.count()
        pieces = [u32(count + 1)]
        for _ in range(count):
            start = cursor.position
            cursor.bytes(cursor.u32())
            kind = cursor.u8()
            pieces.append(self._wasm[start : cursor.position])
            index = cursor.u32()
            pieces.append(u32(self._plan.index(index) if kind == _FUNCTION_KIND else index))
        pieces.append(sized(self._plan.fuel.encode()) + bytes((_GLOBAL_KIND,)))
        pieces.append(u32(self._globals))
        return b"".join(pieces)

    def _start(self, cursor: Cursor) -> bytes:
        return u32(self._plan.index(cursor.u32()))

    def _element(self, cursor: Cursor) -> bytes:
        count = cursor.count()
        pieces = [u32(count)]
        for _ in range(count):
            start = cursor.position
            flags = cursor.u32()
            passive, explicit, expressions = flags & 1, flags & 2, flags & 4
            if explicit and not passive:
                cursor.u32()
            pieces.append(self._wasm[start : cursor.position])
            if not passive:
                pieces.append(self._expression(cursor))
            start = cursor.position
            if passive or explicit:
                if expressions:
                    read_value_type(cursor)
                else:
                    cursor.u8()
            items = cursor.count()
            pieces.append(self._wasm[start : cursor.position])
            if expressions:
                pieces += [self._expression(cursor) for _ in range(items)]
            else:
                pieces.append(self._indices(cursor, items))
        return b"".join(pieces)

    def _indices(self, cursor: Cursor, count: int) -> bytes:
        taken = self._plan.taken
        pieces: list[bytes] = []
        done = cursor.position
        for _ in range(count):
            start = cursor.position
            if cursor.u32() == taken:
                pieces += self._wasm[done:start], self._moved
                done = cursor.position
        pieces.append(self._wasm[done : cursor.position])
        return b"".join(pieces)

    def _code(self, cursor: Cursor) -> bytes:
        meter = CodeMeter(self._wasm, self._plan, self._globals)
        bodies = []
        for index in self._functions[: cursor.count()]:
            func_type = self._types[index]
            params = 0 if func_type is None else len(func_type.params)
            bodies.append(sized(meter.body(cursor, params)))
        return u32(len(bodies)) + b"".join((*bodies[1:], *bodies[:1]))

    def _expression(self, cursor: Cursor) -> bytes:
        """A constant expression, with the moved function's new index."""
        start = cursor.position
        skip_expression(cursor)
        end = cursor.position
        if self._wasm[start] == REF_FUNC:
            function = Cursor(self._wasm, start + 1, end, cursor.place)
            if function.u32() == self._plan.taken:
                return bytes((REF_FUNC,)) + self._moved + self._wasm[function.position : end]
        return self._wasm[start:end]

    def _rest(self, cursor: Cursor) -> bytes:
        return cursor.bytes(cursor.remaining)


_REWRITERS: dict[SectionId, Callable[[_Rewriter, Cursor], bytes]] = {
    SectionId.TYPE: _Rewriter._type,
    SectionId.IMPORT: _Rewriter._import,
    SectionId.FUNCTION: _Rewriter._function,
    SectionId.TABLE: _Rewriter._table,
    SectionId.GLOBAL: _Rewriter._global,
    SectionId.EXPORT: _Rewriter._export,
    SectionId.START: _Rewriter._start,
    SectionId.ELEMENT: _Rewriter._element,
    SectionId.CODE: _Rewriter._code,
}
_ADDED = (SectionId.TYPE, SectionId.IMPORT, SectionId.GLOBAL, SectionId.EXPORT)
