"""A guest's memory, through the buffer that wasmer-python offers."""

from __future__ import annotations

from typing import Any

from anywasm.core.errors import UnsupportedError
from anywasm.core.gate import CallGate
from anywasm.core.memory import PAGE_SIZE, Memory


class WasmerMemory(Memory):
    """One exported memory. It does not move: wasmer reserves its whole address space."""

    __slots__ = ("_gate", "_native")

    def __init__(self, gate: CallGate, native: Any) -> None:
        super().__init__()
        self._gate = gate
        self._native = native

    def _attach(self) -> memoryview:
        self._gate.check_usable()
        view = memoryview(self._native.buffer)
        if len(view) != self._native.size * PAGE_SIZE:
            # The binding counts a buffer's bytes in 32 bits.
            raise UnsupportedError("wasmer-python cannot show a memory of 4 GiB to the host")
        return view

    def _grow(self, pages: int) -> bool:
        try:
            self._native.grow(pages)
        except (RuntimeError, OverflowError):
            return False
        return True
