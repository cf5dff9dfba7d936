"""An exported global."""

from __future__ import annotations

from typing import Any

from anywasm.core.errors import ArgumentError
from anywasm.core.gate import CallGate
from anywasm.core.globals import Global
from anywasm.core.types import FuncType, GlobalType
from anywasm.engines.wasmer.calls import bind_export


class WasmerGlobal(Global):
    """One exported global; read and set by the rules for results and arguments."""

    def __init__(self, gate: CallGate, name: str, type: GlobalType, native: Any) -> None:
        self.type = type
        self._name = name

        def put(value: float) -> None:
            native.value = value

        self._get = bind_export(gate, name, FuncType((), (type.value,)), lambda: native.value)
        self._set = bind_export(gate, name, FuncType((type.value,), ()), put)

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
