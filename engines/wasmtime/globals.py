"""A global that a guest exports."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

from anywasm.core.errors import ArgumentError
from anywasm.core.globals import Global
from anywasm.core.marshal import SlotViews, slot_export, value_export
from anywasm.core.types import REFERENCES, FuncType, GlobalType, ValueType
from anywasm.engines.wasmtime.calls import LAYOUT, Calls
from anywasm.engines.wasmtime.library import error_delete, ffi, global_get, global_set, view_at
from anywasm.engines.wasmtime.references import OTHERS, unroot

#: `wasmtime_valkind_t` of numbers and vectors.
_KINDS = {
    ValueType.I32: ffi.WASMTIME_I32,
    ValueType.I64: ffi.WASMTIME_I64,
    ValueType.F32: ffi.WASMTIME_F32,
    ValueType.F64: ffi.WASMTIME_F64,
    ValueType.V128: ffi.WASMTIME_V128,
}
_Call = Callable[..., Any]


class WasmtimeGlobal(Global):
    """Read and written as functions of its type would be called.

    Attributes:
        calls: What the store's calls share.
        native: Its `wasmtime_global_t`.
    """

    def __init__(self, calls: Calls, name: str, type: GlobalType, native: Any) -> None:
        self.type = type
        self.calls = calls
        self.native = native
        self._name = name
        bind = self._bind_reference if type.value in REFERENCES else self._bind_number
        self._get, self._set = bind(FuncType((), (type.value,)), FuncType((type.value,), ()))

    def _bind_number(self, reads: FuncType, writes: FuncType) -> tuple[_Call, _Call]:
        value = ffi.wasmtime_val_t()
        value.kind = _KINDS.get(self.type.value, ffi.WASMTIME_I32)
        place = ctypes.addressof(value) + ffi.wasmtime_val_t.of.offset
        slots = SlotViews(view_at(place, LAYOUT.stride * 8))
        label, gate = f"global {self._name}", self.calls.gate
        where = (self.calls.context, ctypes.byref(self.native), ctypes.byref(value))
        get, put = partial(global_get, *where), partial(self._put, ctypes.byref(value))
        return (
            slot_export(label, reads, LAYOUT, gate, slots, get),
            slot_export(label, writes, LAYOUT, gate, slots, put),
        )

    def _bind_reference(self, reads: FuncType, writes: FuncType) -> tuple[_Call, _Call]:
        references, kind = self.calls.references, self.type.value

        def get() -> Any:
            place = ffi.wasmtime_val_t()
            global_get(self.calls.context, ctypes.byref(self.native), ctypes.byref(place))
            try:
                return references.lift(kind, place)
            finally:
                unroot(place, 1)

        def put(value: Any) -> None:
            place = ffi.wasmtime_val_t()
            references.lower(kind, value, place)
            try:
                self._put(ctypes.byref(place))
            finally:
                unroot(place, 1)

        label, gate = f"global {self._name}", self.calls.gate
        return (
            value_export(label, reads, gate, get, signed=True, others=OTHERS),
            value_export(label, writes, gate, put, signed=True, others=OTHERS),
        )

    def _put(self, value: Any) -> None:
        error = global_set(self.calls.context, ctypes.byref(self.native), value)
        if error:
            error_delete(ctypes.c_void_p(error))
            raise ArgumentError(f"global {self._name} cannot be set")

    @property
    def value(self) -> Any:
        """The current value; see `anywasm.core.globals.Global`."""
        return self._get()

    @value.setter
    def value(self, value: Any) -> None:
        if not self.type.mutable:
            raise ArgumentError(f"global {self._name} is immutable")
        self._set(value)
