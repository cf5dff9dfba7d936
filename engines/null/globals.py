"""An exported global of a Python guest: an attribute of the guest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anywasm.core.errors import ArgumentError
from anywasm.core.gate import CallGate
from anywasm.core.globals import Global
from anywasm.core.types import FuncType, GlobalType
from anywasm.engines.null.calls import bind_export

if TYPE_CHECKING:
    from anywasm.engines.null.library import NullGuest


class NullGlobal(Global):
    """One exported global; read and set by the rules for results and arguments."""

    def __init__(self, gate: CallGate, guest: NullGuest, name: str, type: GlobalType) -> None:
        self.type = type
        self._name = name
        self._get = bind_export(
            gate, name, FuncType((), (type.value,)), partial(getattr, guest, name)
        )
        self._set = bind_export(
            gate, name, FuncType((type.value,), ()), partial(setattr, guest, name)
        )

    @property
    def value(self) -> int | float:
        """The current value."""
        number: int | float = self._get()
        return number

    @value.setter
    def value(self, value: float) -> None:
        if not self.type.mutable:
            raise ArgumentError(f"global {self._name!r} is not mutable")
        self._set(value)
