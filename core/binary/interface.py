"""What a module asks for and offers, read without an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from anywasm.core.binary.expressions import skip_expression
from anywasm.core.binary.sections import SectionId, sections
from anywasm.core.binary.types import (
    read_global_type,
    read_memory_type,
    read_table_type,
    read_types,
)
from anywasm.core.types import (
    CustomSection,
    ExportType,
    ImportType,
    MemoryType,
    TableType,
    TagType,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anywasm.core.binary.cursor import Cursor
    from anywasm.core.binary.sections import Section
    from anywasm.core.types import ExternType, FuncType

#: The kinds of imports and exports in the binary format (core spec, section 5.5.5).
_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = range(5)
_KIND_NAMES = ("function", "table", "memory", "global", "tag")
_TABLE_WITH_EXPRESSION = 0x40


@dataclass(frozen=True, slots=True)
class ModuleInterface:
    """The outside of a module.

    Attributes:
        imports: In the module's order; the same pair of names may be there more than once.
        exports: In the module's order; names are unique.
        custom_sections: In the module's order and multiplicity.
        start: Index of the start function, if there is one.
        functions: How many functions it has, the imported ones among them.
        memories: All its memories, the imported ones first.
        tables: All its tables, the imported ones first.
    """

    imports: tuple[ImportType, ...] = ()
    exports: tuple[ExportType, ...] = ()
    custom_sections: tuple[CustomSection, ...] = ()
    start: int | None = None
    functions: int = 0
    memories: tuple[MemoryType, ...] = ()
    tables: tuple[TableType, ...] = ()


def read_interface(wasm: bytes) -> ModuleInterface:
    """Read the interface of a binary module, in time and memory linear in what is read.

    Code, element and data sections are skipped by their sizes, so a module of many megabytes takes
    about a millisecond. What is read is checked for form (core spec, section 5), and indices and
    names of imports and exports for validity; the rest of validation is the engine's.

    Args:
        wasm: The binary module.

    Returns:
        Its imports, exports, custom sections and start function.

    Raises:
        CompileError: The module is malformed, or needs a proposal that is not known here; the
            message has the byte offset and the section.
    """
    reader = _InterfaceReader()
    for section in sections(wasm):
        reader.read(section)
    return ModuleInterface(
        tuple(reader.imports),
        tuple(reader.exports),
        tuple(reader.custom_sections),
        reader.start,
        reader.functions,
        reader.memories,
        reader.tables,
    )


class _InterfaceReader:
    """What was read so far; the format's order of sections makes one pass enough."""

    def __init__(self) -> None:
        self.imports: list[ImportType] = []
        self.exports: list[ExportType] = []
        self.custom_sections: list[CustomSection] = []
        self.start: int | None = None
        self._types: list[FuncType | None] = []
        #: The index space of each kind; of functions only the imported part.
        self._spaces: tuple[list[ExternType], ...] = ([], [], [], [], [])
        #: Type indices of the module's own functions; resolved only for those that are exported.
        self._functions: Sequence[int] = ()

    @property
    def functions(self) -> int:
        return len(self._spaces[_FUNCTION]) + len(self._functions)

    @property
    def memories(self) -> tuple[MemoryType, ...]:
        return tuple(cast("list[MemoryType]", self._spaces[_MEMORY]))

    @property
    def tables(self) -> tuple[TableType, ...]:
        return tuple(cast("list[TableType]", self._spaces[_TABLE]))

    def read(self, section: Section) -> None:
        read = self._READERS.get(section.id)
        if read is not None:
            read(self, section.body)
            section.body.finish()

    def _read_custom(self, cursor: Cursor) -> None:
        name = cursor.name()
        self.custom_sections.append(CustomSection(name, cursor.bytes(cursor.remaining)))

    def _read_types(self, cursor: Cursor) -> None:
        self._types = read_types(cursor)

    def _read_imports(self, cursor: Cursor) -> None:
        for _ in range(cursor.count(4)):
            module, name = cursor.name(), cursor.name()
            kind = self._read_kind(cursor)
            imported = self._read_extern_type(cursor, kind)
            self._spaces[kind].append(imported)
            self.imports.append(ImportType(module, name, imported))

    def _read_extern_type(self, cursor: Cursor, kind: int) -> ExternType:
        if kind == _FUNCTION:
            return self._read_func_type(cursor)
        if kind == _TABLE:
            return read_table_type(cursor)
        if kind == _MEMORY:
            return read_memory_type(cursor)
        if kind == _GLOBAL:
            return read_global_type(cursor)
        return self._read_tag_type(cursor)

    def _read_functions(self, cursor: Cursor) -> None:
        start = cursor.position
        self._functions = cursor.u32_vector()
        highest = max(self._functions, default=-1)
        if highest >= len(self._types):
            raise cursor.error(f"a function is of type {highest}, which does not exist", start)

    def _read_tables(self, cursor: Cursor) -> None:
        for _ in range(cursor.count(3)):
            start = cursor.position
            if cursor.u8() != _TABLE_WITH_EXPRESSION:
                cursor.position = start
                self._spaces[_TABLE].append(read_table_type(cursor))
                continue
            if cursor.u8() != 0:
                raise cursor.error("the reserved byte of a table is not 0", start + 1)
            self._spaces[_TABLE].append(read_table_type(cursor))
            skip_expression(cursor)

    def _read_memories(self, cursor: Cursor) -> None:
        self._spaces[_MEMORY].extend(read_memory_type(cursor) for _ in range(cursor.count(2)))

    def _read_tags(self, cursor: Cursor) -> None:
        self._spaces[_TAG].extend(self._read_tag_type(cursor) for _ in range(cursor.count(2)))

    def _read_globals(self, cursor: Cursor) -> None:
        for _ in range(cursor.count(3)):
            self._spaces[_GLOBAL].append(read_global_type(cursor))
            skip_expression(cursor)

    def _read_exports(self, cursor: Cursor) -> None:
        names: set[str] = set()
        for _ in range(cursor.count(3)):
            start = cursor.position
            name = cursor.name()
            if name in names:
                raise cursor.error(f"the export name {name!r} is there twice", start)
            names.add(name)
            kind = self._read_kind(cursor)
            start = cursor.position
            index = cursor.u32()
            self.exports.append(ExportType(name, self._at(cursor, start, kind, index), index))

    def _read_start(self, cursor: Cursor) -> None:
        start = cursor.position
        self.start = cursor.u32()
        self._at(cursor, start, _FUNCTION, self.start)

    def _read_kind(self, cursor: Cursor) -> int:
        kind = cursor.u8()
        if kind >= len(self._spaces):
            raise cursor.error(f"unknown kind {kind:#04x}", cursor.position - 1)
        return kind

    def _read_tag_type(self, cursor: Cursor) -> TagType:
        attribute = cursor.u8()
        if attribute != 0:
            raise cursor.error(f"unknown attribute {attribute:#04x} of a tag", cursor.position - 1)
        return TagType(self._read_func_type(cursor).params)

    def _read_func_type(self, cursor: Cursor) -> FuncType:
        start = cursor.position
        return self._func_type(cursor, start, cursor.u32())

    def _func_type(self, cursor: Cursor, start: int, index: int) -> FuncType:
        func_type = self._types[index] if index < len(self._types) else None
        if func_type is None:
            raise cursor.error(f"there is no function type {index}", start)
        return func_type

    def _at(self, cursor: Cursor, start: int, kind: int, index: int) -> ExternType:
        space = self._spaces[kind]
        if index < len(space):
            return space[index]
        own = index - len(space)
        if kind == _FUNCTION and own < len(self._functions):
            return self._func_type(cursor, start, self._functions[own])
        raise cursor.error(f"there is no {_KIND_NAMES[kind]} {index}", start)

    _READERS: ClassVar[dict[SectionId, Callable[[_InterfaceReader, Cursor], None]]] = {
        SectionId.CUSTOM: _read_custom,
        SectionId.TYPE: _read_types,
        SectionId.IMPORT: _read_imports,
        SectionId.FUNCTION: _read_functions,
        SectionId.TABLE: _read_tables,
        SectionId.MEMORY: _read_memories,
        SectionId.TAG: _read_tags,
        SectionId.GLOBAL: _read_globals,
        SectionId.EXPORT: _read_exports,
        SectionId.START: _read_start,
    }
