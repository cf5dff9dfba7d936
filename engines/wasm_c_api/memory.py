"""A guest's linear memory."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from anywasm.core.memory import PAGE_SIZE, Memory
from anywasm.engines.fastcall import fast_memory
from anywasm.engines.wasm_c_api.library import Pointer, view_at

if TYPE_CHECKING:
    from anywasm.engines.wasm_c_api.calls import Calls

#: More pages than any memory can have; `wasm.h` counts them in 32 bits.
_TOO_MANY = (1 << 32) - 1


@fast_memory
class WasmCApiMemory(Memory):
    """Where memories may move, views are fetched anew after each time that a guest ran.

    Attributes:
        calls: What the store's calls share.
        extern: The `wasm_extern_t *`.
    """

    __slots__ = ("_at", "_native", "calls", "extern")

    def __init__(self, calls: Calls, extern: int) -> None:
        super().__init__()
        self.calls = calls
        self.extern = extern
        self._native = Pointer(calls.library.wasm_extern_as_memory(extern))
        self._at = 0

    def _attach(self) -> memoryview:
        calls = self.calls
        if calls.gate.alert:
            calls.gate.check_usable()
        size = calls.library.wasm_memory_data_size(self._native)
        if not size:
            return memoryview(bytearray())
        at = calls.library.wasm_memory_data(self._native)
        if at != self._at or size != len(self._view):
            self._at = at
            return view_at(at, size)
        return self._view

    def _grow(self, pages: int) -> bool:
        gate = self.calls.gate
        if not gate.acquire(False):
            gate.refuse()
        try:
            gate.check_usable()
            pages_now = self.calls.library.wasm_memory_data_size(self._native) // PAGE_SIZE
            if pages_now + pages > self.calls.gate.most_pages:
                return False
            count = ctypes.c_uint32(min(pages, _TOO_MANY))
            return bool(self.calls.library.wasm_memory_grow(self._native, count))
        finally:
            gate.release()

    def detach(self) -> None:
        """Let go of the memory before it is freed."""
        self._view = memoryview(b"")
        self._at = 0
        self.invalidate()
