"""An exported global."""

from __future__ import annotations

from typing import Any

from anywasm.core.gate import CallGate
from anywasm.core.globals import ValueGlobal
from anywasm.core.types import GlobalType


class WasmerGlobal(ValueGlobal):
    """One exported global; read and set by the rules for results and arguments."""

    def __init__(self, gate: CallGate, name: str, type: GlobalType, native: Any) -> None:
        def put(value: float) -> None:
            native.value = value

        super().__init__(name, type, gate, lambda: native.value, put, signed=True)
