"""A guest's linear memory."""

from __future__ import annotations

import ctypes
from typing import Any

from anywasm.core.memory import Memory
from anywasm.engines.fastcall import fast_memory
from anywasm.engines.wasmtime.calls import Calls
from anywasm.engines.wasmtime.library import (
    error_delete,
    memory_data,
    memory_data_size,
    memory_grow,
    view_at,
)

#: More pages than any memory can have, for counts that C has no number for.
_TOO_MANY = (1 << 64) - 1


@fast_memory
class WasmtimeMemory(Memory):
    """Views stay right while the store lives: the engine is set never to move a memory.

    Attributes:
        calls: What the store's calls share.
        native: Its `wasmtime_memory_t`.
    """

    __slots__ = ("_native", "calls", "native")

    def __init__(self, calls: Calls, native: Any) -> None:
        super().__init__()
        self.calls = calls
        self.native = native
        self._native = ctypes.byref(native)

    def _measure(self) -> int:
        self.calls.gate.check_usable()
        size: int = memory_data_size(self.calls.context, self._native)
        return size

    def _attach(self) -> memoryview:
        size = self._measure()
        if not size:
            return memoryview(bytearray())
        return view_at(memory_data(self.calls.context, self._native), size)

    def _grow(self, pages: int) -> bool:
        gate = self.calls.gate
        if not gate.acquire(False):
            gate.refuse()
        try:
            gate.check_usable()
            before, count = ctypes.c_uint64(), ctypes.c_uint64(min(pages, _TOO_MANY))
            error = memory_grow(self.calls.context, self._native, count, ctypes.byref(before))
            if error:
                error_delete(ctypes.c_void_p(error))
            return not error
        finally:
            gate.release()
