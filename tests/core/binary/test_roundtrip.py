from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anywasm.core.binary import ModuleInterface, read_interface, strip_to_interface
from anywasm.core.errors import CompileError
from anywasm.core.types import (
    CustomSection,
    ExportType,
    ExternType,
    FuncType,
    GlobalType,
    ImportType,
    Limits,
    MemoryType,
    TableType,
    TagType,
    ValueType,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Leb = Callable[[int], bytes]
    Vector = Callable[..., bytes]
    Name = Callable[[str], bytes]
    Module = Callable[..., bytes]

NUMBERS = {
    ValueType.I32: (b"\x7f", b"\x41\x7f\x0b"),
    ValueType.I64: (b"\x7e", b"\x42\x0b\x0b"),
    ValueType.F32: (b"\x7d", b"\x43\x0b\x0b\x0b\x0b\x0b"),
    ValueType.F64: (b"\x7c", b"\x44" + b"\x0b" * 8 + b"\x0b"),
    ValueType.V128: (b"\x7b", b"\xfd\x0c" + b"\x0b" * 16 + b"\x0b"),
}
REFERENCES = {
    ValueType.FUNCREF: (b"\x70", b"\xd0\x70\x0b"),
    ValueType.EXTERNREF: (b"\x6f", b"\xd0\x6f\x0b"),
}
#: The encoding of each type, and of an expression for a value of it.
VALUES = {**NUMBERS, **REFERENCES}
KINDS: tuple[type, ...] = (FuncType, TableType, MemoryType, GlobalType, TagType)

value_types = st.lists(st.sampled_from(list(VALUES)), max_size=4).map(tuple)
func_types = st.builds(FuncType, value_types, value_types)


def limits_up_to(highest: int) -> st.SearchStrategy[Limits]:
    bounds = st.tuples(st.integers(0, highest), st.integers(0, highest)).map(sorted)
    return bounds.map(lambda b: Limits(*b)) | st.integers(0, highest).map(Limits)


tables = st.builds(
    TableType, st.sampled_from(list(REFERENCES)), limits_up_to(2**32 - 1)
) | st.builds(
    TableType, st.sampled_from(list(REFERENCES)), limits_up_to(2**64 - 1), st.just(value=True)
)
memories = st.builds(MemoryType, limits_up_to(65536)) | st.builds(
    MemoryType, limits_up_to(2**48), memory64=st.just(value=True)
)
globals_ = st.builds(GlobalType, st.sampled_from(list(VALUES)), st.booleans())
tags = st.builds(TagType, value_types)
extern_types = st.one_of(func_types, tables, memories, globals_, tags)
imports = st.builds(ImportType, st.text(max_size=5), st.text(max_size=5), extern_types)
custom_sections = st.builds(CustomSection, st.sampled_from(["name", "a", ""]), st.binary())


class Plan(NamedTuple):
    """What a module is written from; `extra` are the types that nothing refers to."""

    extra: list[FuncType]
    imports: list[ImportType]
    own: list[ExternType]
    exports: dict[str, int]
    customs: list[CustomSection]


plans = st.builds(
    Plan,
    st.lists(func_types, max_size=3),
    st.lists(imports, max_size=6),
    st.lists(extern_types, max_size=6),
    st.dictionaries(st.text(max_size=5), st.integers(0), max_size=6),
    st.lists(custom_sections, max_size=4),
)


class Writer:
    """Writes what a plan says, independently of the reader under test."""

    def __init__(self, leb: Leb, vector: Vector, name: Name, module: Module) -> None:
        self.leb, self.vector, self.name, self.module = leb, vector, name, module
        self.types: list[FuncType] = []

    def type_index(self, func_type: FuncType) -> bytes:
        if func_type not in self.types:
            self.types.append(func_type)
        return self.leb(self.types.index(func_type))

    def values(self, types: tuple[ValueType, ...]) -> bytes:
        return self.vector(*[VALUES[value_type][0] for value_type in types])

    def limits(self, limits: Limits, flags: int) -> bytes:
        if limits.maximum is None:
            return bytes([flags]) + self.leb(limits.minimum)
        return bytes([flags | 1]) + self.leb(limits.minimum) + self.leb(limits.maximum)

    def extern(self, extern: ExternType) -> bytes:
        if isinstance(extern, FuncType):
            return self.type_index(extern)
        if isinstance(extern, TableType):
            return VALUES[extern.element][0] + self.limits(extern.limits, 4 * extern.table64)
        if isinstance(extern, MemoryType):
            return self.limits(extern.limits, 4 * extern.memory64)
        if isinstance(extern, GlobalType):
            return VALUES[extern.value][0] + bytes([extern.mutable])
        return b"\0" + self.type_index(FuncType(extern.params))

    def own(self, plan: Plan, kind: type) -> bytes:
        bodies = []
        for extern in plan.own:
            if isinstance(extern, kind):
                initial = VALUES[extern.value][1] if isinstance(extern, GlobalType) else b""
                bodies.append(self.extern(extern) + initial)
        return self.vector(*bodies)

    def write(self, plan: Plan) -> tuple[bytes, ModuleInterface]:
        self.types = list(dict.fromkeys(plan.extra))
        imported = [
            self.name(i.module)
            + self.name(i.name)
            + bytes([KINDS.index(type(i.type))])
            + self.extern(i.type)
            for i in plan.imports
        ]
        spaces = {
            kind: [e for e in [*(i.type for i in plan.imports), *plan.own] if type(e) is kind]
            for kind in KINDS
        }
        offered = [(kind, index) for kind in KINDS for index in range(len(spaces[kind]))]
        exports = [
            ExportType(name, spaces[kind][index], index)
            for name, choice in plan.exports.items()
            if offered
            for kind, index in [offered[choice % len(offered)]]
        ]
        sections = [
            (2, self.vector(*imported)),
            (3, self.own(plan, FuncType)),
            (4, self.own(plan, TableType)),
            (5, self.own(plan, MemoryType)),
            (13, self.own(plan, TagType)),
            (6, self.own(plan, GlobalType)),
            (
                7,
                self.vector(
                    *[
                        self.name(e.name) + bytes([KINDS.index(type(e.type))]) + self.leb(e.index)
                        for e in exports
                    ]
                ),
            ),
            (10, self.vector(*[b"\3\0\0\x0b" for e in plan.own if isinstance(e, FuncType)])),
        ]
        types = [b"\x60" + self.values(t.params) + self.values(t.results) for t in self.types]
        sections.insert(0, (1, self.vector(*types)))
        for place, custom in enumerate(plan.customs):
            sections.insert(3 * place, (0, self.name(custom.name) + custom.data))
        interface = ModuleInterface(
            tuple(plan.imports),
            tuple(exports),
            tuple(plan.customs),
            functions=len(spaces[FuncType]),
            tables=tuple(t for t in spaces[TableType] if isinstance(t, TableType)),
            memories=tuple(m for m in spaces[MemoryType] if isinstance(m, MemoryType)),
        )
        return self.module(*sections), interface


@pytest.fixture(scope="session")
def writer(leb: Leb, vector: Vector, name: Name, module: Module) -> Writer:
    return Writer(leb, vector, name, module)


@given(plans)
def test_what_was_written_is_read(writer: Writer, plan: Plan) -> None:
    wasm, interface = writer.write(plan)
    assert read_interface(wasm) == interface
    assert read_interface(strip_to_interface(wasm)) == interface


@given(plans, st.data())
def test_only_compile_errors_come_out_of_damaged_modules(
    writer: Writer, plan: Plan, data: st.DataObject
) -> None:
    wasm = bytearray(writer.write(plan)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(wasm)))
        size = data.draw(st.integers(0, 3))
        wasm[at : at + size] = data.draw(st.binary(max_size=6))
    for read in (read_interface, strip_to_interface):
        try:
            read(bytes(wasm))
        except CompileError as error:
            assert "malformed module at byte 0x" in str(error)  # noqa: PT017
