"""A guest's memory, through the buffer that wasmer-python offers."""

from __future__ import annotations

from ctypes import addressof, c_char, c_ubyte
from typing import Any

from anywasm.core.errors import UnsupportedError
from anywasm.core.memory import PAGE_SIZE, Memory
from anywasm.core.metering import MeteredGate
from anywasm.engines.fastcall import fast_memory


@fast_memory
class WasmerMemory(Memory):
    """One exported memory. It does not move: wasmer reserves its whole address space.

    Attributes:
        gate: Its store's gate.
        native: The binding's memory.
    """

    __slots__ = ("gate", "native")

    def __init__(self, gate: MeteredGate, native: Any) -> None:
        super().__init__()
        self.gate = gate
        self.native = native

    def _attach(self) -> memoryview:
        self.gate.check_usable()
        size = self.native.size * PAGE_SIZE
        if size == 0:
            return memoryview(b"")
        with memoryview(self.native.buffer) as view:
            if len(view) != size:
                # The binding counts a buffer's bytes in 32 bits.
                raise UnsupportedError("wasmer-python cannot show a memory of 4 GiB to the host")
            address = addressof(c_char.from_buffer(view))
        # A view of the binding's buffer could not be kept: it panics when the garbage collector
        # frees it in another thread. The bytes stay while the native memory is referred to.
        return memoryview((c_ubyte * size).from_address(address)).cast("B")

    def forget(self) -> None:
        """Let go of the memory, which holds the instance and all of its host functions."""
        self._view = memoryview(b"")
        self.invalidate()
        self.native = None

    def _grow(self, pages: int) -> bool:
        self.gate.check_usable()
        if self.native.size + pages > self.gate.most_pages:
            return False
        try:
            self.native.grow(pages)
        except (RuntimeError, OverflowError):
            return False
        return True
