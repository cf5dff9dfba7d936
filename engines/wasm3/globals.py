"""An exported global of a wasm3 instance."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from anywasm.core.errors import ArgumentError
from anywasm.core.gate import CallGate
from anywasm.core.globals import Global
from anywasm.core.marshal import SlotLayout, SlotViews, slot_export
from anywasm.core.types import FuncType, GlobalType, ValueType

if TYPE_CHECKING:
    from anywasm.engines.wasm3.library import Wasm3Library

#: M3ValueType.
_TYPES = {ValueType.I32: 1, ValueType.I64: 2, ValueType.F32: 3, ValueType.F64: 4}
_LAYOUT = SlotLayout(stride=1)


class Wasm3Global(Global):
    """One exported global; read and set by the rules for results and arguments."""

    def __init__(
        self, library: Wasm3Library, gate: CallGate, name: str, type: GlobalType, address: int
    ) -> None:
        self.type = type
        self._name = name
        # M3TaggedValue: the type's number, then the value in a slot of its own.
        tagged = (ctypes.c_uint64 * 2)(_TYPES[type.value])
        slots = SlotViews(memoryview(tagged).cast("B")[8:])

        def bind(function: Callable[..., Any], type: FuncType) -> Callable[..., Any]:
            invoke = partial(function, address, ctypes.byref(tagged))
            return slot_export(name, type, _LAYOUT, gate, slots, invoke)

        self._get = bind(library.m3_GetGlobal, FuncType(results=(type.value,)))
        self._set = bind(library.m3_SetGlobal, FuncType(params=(type.value,)))

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


def fuel_setter(library: Wasm3Library, address: int) -> Callable[[int], None]:
    """What sets the global at `address`, an i64, without a look at the gate."""
    tagged = (ctypes.c_uint64 * 2)(_TYPES[ValueType.I64])
    reference, put = ctypes.byref(tagged), library.m3_SetGlobal

    def set_fuel(fuel: int) -> None:
        tagged[1] = fuel
        put(address, reference)

    return set_fuel
