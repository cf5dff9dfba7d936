"""An exported table."""

from __future__ import annotations

from typing import Any, NoReturn

from anywasm.core.errors import UnsupportedError
from anywasm.core.gate import CallGate
from anywasm.core.tables import Table
from anywasm.core.types import TableType


class WasmerTable(Table):
    """One table, to be imported by others; the binding lets the host see only its size.

    Attributes:
        gate: Its store's gate.
        native: The binding's table.
    """

    def __init__(self, gate: CallGate, type: TableType, native: Any) -> None:
        self.type = type
        self.gate = gate
        self.native = native

    def forget(self) -> None:
        """Let go of the table, which holds its instance."""
        self.native = None

    @property
    def size(self) -> int:
        """The current number of elements."""
        self.gate.check_usable()
        return self.native.size  # type: ignore[no-any-return]

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
        self.gate.check_usable()
        raise UnsupportedError(f"wasmer-python cannot pass values of type {self.type.element}")
