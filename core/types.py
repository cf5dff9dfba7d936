"""Value and external types of WebAssembly, as the core specification names them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ValueType(str, Enum):
    """A WebAssembly value type (core spec, section 2.3.4), spelled as in the text format."""

    I32 = "i32"
    I64 = "i64"
    F32 = "f32"
    F64 = "f64"
    V128 = "v128"
    FUNCREF = "funcref"
    EXTERNREF = "externref"
    #: Any reference type beyond the two of WebAssembly 2.0 (typed references, GC, exceptions).
    REF = "ref"

    def __str__(self) -> str:
        return self.value


#: The value types that are numbers, hence plain Python ints and floats at the seam.
NUMERIC = frozenset({ValueType.I32, ValueType.I64, ValueType.F32, ValueType.F64})

#: The references of WebAssembly 2.0: None for null, a callable, or for `externref` any object.
REFERENCES = frozenset({ValueType.FUNCREF, ValueType.EXTERNREF})


@dataclass(frozen=True, slots=True)
class FuncType:
    """The type of a function: what it takes and what it returns."""

    params: tuple[ValueType, ...] = ()
    results: tuple[ValueType, ...] = ()

    def __str__(self) -> str:
        return f"func ({' '.join(self.params)}) -> ({' '.join(self.results)})"


@dataclass(frozen=True, slots=True)
class Limits:
    """The size range of a memory (in pages) or a table (in elements)."""

    minimum: int
    maximum: int | None = None

    def __str__(self) -> str:
        return f"{self.minimum}..{'' if self.maximum is None else self.maximum}"


@dataclass(frozen=True, slots=True)
class MemoryType:
    """The type of a linear memory; limits count pages of `page_size` bytes."""

    limits: Limits
    shared: bool = False
    memory64: bool = False
    page_size: int = 65536

    def __str__(self) -> str:
        return f"memory {self.limits}{' shared' if self.shared else ''}"


@dataclass(frozen=True, slots=True)
class TableType:
    """The type of a table of references."""

    element: ValueType
    limits: Limits
    table64: bool = False

    def __str__(self) -> str:
        return f"table {self.limits} {self.element}"


@dataclass(frozen=True, slots=True)
class GlobalType:
    """The type of a global variable."""

    value: ValueType
    mutable: bool = False

    def __str__(self) -> str:
        return f"global {'mut ' if self.mutable else ''}{self.value}"


@dataclass(frozen=True, slots=True)
class TagType:
    """The type of an exception tag (exception-handling proposal)."""

    params: tuple[ValueType, ...] = ()

    def __str__(self) -> str:
        return f"tag ({' '.join(self.params)})"


ExternType = FuncType | MemoryType | TableType | GlobalType | TagType


class ExternKind(str, Enum):
    """The kind of an import or export, spelled as in the WebAssembly JS API."""

    FUNCTION = "function"
    TABLE = "table"
    MEMORY = "memory"
    GLOBAL = "global"
    TAG = "tag"

    def __str__(self) -> str:
        return self.value


_KINDS: dict[type, ExternKind] = {
    FuncType: ExternKind.FUNCTION,
    TableType: ExternKind.TABLE,
    MemoryType: ExternKind.MEMORY,
    GlobalType: ExternKind.GLOBAL,
    TagType: ExternKind.TAG,
}


@dataclass(frozen=True, slots=True)
class ImportType:
    """What a module asks for: `module` and `name` are the two levels of the importObject."""

    module: str
    name: str
    type: ExternType

    @property
    def kind(self) -> ExternKind:
        """The kind of thing that is imported."""
        return _KINDS[type(self.type)]

    def __str__(self) -> str:
        return f"{self.module}.{self.name}: {self.type}"


@dataclass(frozen=True, slots=True)
class ExportType:
    """What a module offers under a name; `index` counts within its kind's index space."""

    name: str
    type: ExternType
    index: int

    @property
    def kind(self) -> ExternKind:
        """The kind of thing that is exported."""
        return _KINDS[type(self.type)]

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


@dataclass(frozen=True, slots=True)
class CustomSection:
    """A custom section, in the order and multiplicity in which the module has them."""

    name: str
    data: bytes
