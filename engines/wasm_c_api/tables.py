"""A table that a guest exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from anywasm.core.errors import UnsupportedError
from anywasm.core.tables import Table

if TYPE_CHECKING:
    from anywasm.core.types import TableType
    from anywasm.engines.wasm_c_api.calls import Calls


class WasmCApiTable(Table):
    """One table, to be imported by others; references do not cross.

    Attributes:
        calls: What the store's calls share.
        extern: The `wasm_extern_t *`.
    """

    def __init__(self, calls: Calls, type: TableType, extern: int) -> None:
        self.type = type
        self.calls = calls
        self.extern = extern
        self._native = calls.library.wasm_extern_as_table(extern)

    @property
    def size(self) -> int:
        """The current number of elements."""
        self.calls.gate.check_usable()
        return self.calls.library.wasm_table_size(self._native)  # type: ignore[no-any-return]

    def get(self, index: int) -> Any:
        """Not possible; see `anywasm.core.tables.Table`."""
        self._refuse()

    def set(self, index: int, value: Any = None) -> None:
        """Not possible; see `anywasm.core.tables.Table`."""
        self._refuse()

    def grow(self, count: int, value: Any = None) -> int:
        """Not possible; see `anywasm.core.tables.Table`."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        self.calls.gate.check_usable()
        raise UnsupportedError(f"values of type {self.type.element} cannot be passed")
