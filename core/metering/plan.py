"""Where in a metered module things are that the original has elsewhere, or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from anywasm.core.binary import ModuleInterface
from anywasm.core.types import ExternKind, FuncType, ImportType, ValueType

_MODULE = "anywasm"
_CHECK = FuncType((ValueType.I32, ValueType.I32), (ValueType.I64,))

#: Grows whenever code is metered in another way: what was kept of the old one is not loaded then.
REVISION = 2


@dataclass(frozen=True, slots=True)
class MeteringPlan:
    """What `meter` adds to a module; it follows from the module's interface alone.

    The check becomes the last of the imported functions. The index that it takes belonged to the
    module's own first function, which becomes the last function; all others stay where they are.

    Attributes:
        check: The added import. The guest calls it with `(-1, -1)` when its fuel is spent, and the
            answer is its new fuel; with how much a memory or table is to grow, and its size (see
            `TABLE`), before that grows, and the answer is by how much it may.
        fuel: The name under which the fuel, a mutable i64, is exported.
        taken: The function index of `check`.
        moved: Where the function is now that had the index `taken`.
    """

    check: ImportType
    fuel: str
    taken: int
    moved: int

    @classmethod
    def of(cls, interface: ModuleInterface) -> MeteringPlan:
        """The plan for the module with this interface."""
        names = {wanted.name for wanted in interface.imports if wanted.module == _MODULE}
        return cls(
            ImportType(_MODULE, _unlike("check", names), _CHECK),
            _unlike("anywasm.fuel", {export.name for export in interface.exports}),
            sum(wanted.kind is ExternKind.FUNCTION for wanted in interface.imports),
            interface.functions,
        )

    def index(self, original: int) -> int:
        """Where the function is in the metered module that has the index `original`."""
        return self.moved if original == self.taken else original

    def original(self, index: int) -> int:
        """Where the function is in the original that has `index` in the metered module."""
        return self.taken if index == self.moved else index


def _unlike(name: str, others: Iterable[str]) -> str:
    others = set(others)
    while name in others:
        name += "'"
    return name
