"""A global that a guest exports."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

from anywasm.core.errors import ArgumentError
from anywasm.core.globals import Global
from anywasm.core.marshal import SlotViews, slot_export
from anywasm.core.types import FuncType, GlobalType, ValueType
from anywasm.engines.wasmtime.calls import LAYOUT, Calls
from anywasm.engines.wasmtime.library import error_delete, ffi, global_get, global_set, view_at

#: `wasmtime_valkind_t` of the types that can cross.
_KINDS = {
    ValueType.I32: ffi.WASMTIME_I32,
    ValueType.I64: ffi.WASMTIME_I64,
    ValueType.F32: ffi.WASMTIME_F32,
    ValueType.F64: ffi.WASMTIME_F64,
    ValueType.V128: ffi.WASMTIME_V128,
}


class WasmtimeGlobal(Global):
    """Read and written as functions of its type would be called."""

    def __init__(self, calls: Calls, name: str, type: GlobalType, native: Any) -> None:
        self.type = type
        self._name = name
        value = ffi.wasmtime_val_t()
        value.kind = _KINDS.get(type.value, ffi.WASMTIME_I32)
        place = ctypes.addressof(value) + ffi.wasmtime_val_t.of.offset
        slots = SlotViews(view_at(place, LAYOUT.stride * 8))
        where = (calls.context, ctypes.byref(native), ctypes.byref(value))

        def store() -> None:
            error = global_set(*where)
            if error:
                error_delete(ctypes.c_void_p(error))
                raise ArgumentError(f"global {name} cannot be set")

        label, gate = f"global {name}", calls.gate
        reads, writes = FuncType((), (type.value,)), FuncType((type.value,), ())
        self._get = slot_export(label, reads, LAYOUT, gate, slots, partial(global_get, *where))
        self._set = slot_export(label, writes, LAYOUT, gate, slots, store)

    @property
    def value(self) -> int | float:
        """The current value; see `anywasm.core.globals.Global`."""
        return self._get()  # type: ignore[no-any-return]

    @value.setter
    def value(self, value: float) -> None:
        if not self.type.mutable:
            raise ArgumentError(f"global {self._name} is immutable")
        self._set(value)
