"""A global that a guest exports."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from anywasm.core.errors import ArgumentError
from anywasm.core.globals import Global
from anywasm.core.marshal import TAGS, SlotLayout, SlotViews, slot_export
from anywasm.core.types import FuncType, GlobalType, ValueType
from anywasm.engines.wasm_c_api.library import Pointer, Val

if TYPE_CHECKING:
    from anywasm.engines.wasm_c_api.calls import Calls

#: A `wasm_val_t` without its kind.
_LAYOUT = SlotLayout(stride=1)


class WasmCApiGlobal(Global):
    """Read and written as functions of its type would be called.

    Attributes:
        calls: What the store's calls share.
        extern: The `wasm_extern_t *`.
    """

    def __init__(self, calls: Calls, name: str, type: GlobalType, extern: int) -> None:
        self.type = type
        self.calls = calls
        self.extern = extern
        self._name = name
        val = Val(TAGS.get(type.value, 0))
        slots = SlotViews(memoryview(val).cast("B")[Val.bits.offset :])
        where = (Pointer(calls.library.wasm_extern_as_global(extern)), ctypes.byref(val))
        label, gate, library = f"global {name}", calls.gate, calls.library
        reads, writes = FuncType((), (type.value,)), FuncType((type.value,), ())
        get = partial(library.wasm_global_get, *where)
        put = partial(library.wasm_global_set, *where)
        self._get = slot_export(label, reads, _LAYOUT, gate, slots, get)
        self._set = slot_export(label, writes, _LAYOUT, gate, slots, put)

    @property
    def value(self) -> int | float:
        """The current value; see `anywasm.core.globals.Global`."""
        return self._get()  # type: ignore[no-any-return]

    @value.setter
    def value(self, value: float) -> None:
        if not self.type.mutable:
            raise ArgumentError(f"global {self._name} is immutable")
        self._set(value)


def fuel_setter(calls: Calls, extern: int) -> Callable[[int], None]:
    """What sets the fuel of an instance, without a look at its gate."""
    val, native = Val(TAGS[ValueType.I64]), calls.library.wasm_extern_as_global(extern)
    put = partial(calls.library.wasm_global_set, Pointer(native), ctypes.byref(val))
    natives = calls.natives

    def set_fuel(fuel: int) -> None:
        assert natives.free.alive  # and so it stays while this function refers to them
        val.bits = fuel
        put()

    return set_fuel
