"""An exported global."""

from __future__ import annotations

from typing import Any

from anywasm.core.gate import CallGate
from anywasm.core.globals import ValueGlobal
from anywasm.core.types import GlobalType, ValueType
from anywasm.engines.wasmer.calls import VECTORS, to_bytes, to_int


class WasmerGlobal(ValueGlobal):
    """One exported global; read and set by the rules for results and arguments.

    Attributes:
        gate: Its store's gate.
        native: The binding's global.
    """

    def __init__(self, gate: CallGate, name: str, type: GlobalType, native: Any) -> None:
        def put(value: Any) -> None:
            self.native.value = to_int(value) if vector else value

        def get() -> Any:
            return to_bytes(self.native.value) if vector else self.native.value

        self.gate = gate
        self.native = native
        vector = type.value is ValueType.V128
        super().__init__(name, type, gate, get, put, signed=True, others=VECTORS)

    def forget(self) -> None:
        """Let go of the global, which holds its instance."""
        self.native = None
