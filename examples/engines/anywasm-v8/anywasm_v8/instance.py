"""A running module."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.engine import (
    PAGE_SIZE,
    CopiedMemory,
    ExportType,
    FuncType,
    Global,
    GlobalType,
    Instance,
    Memory,
    ValueGlobal,
    ValueType,
    bits_adapter,
    bits_type,
    check_bits,
    value_export,
)
from anywasm_v8.errors import trap

if TYPE_CHECKING:
    from anywasm_v8.module import V8Module
    from anywasm_v8.realm import HostSide, Realm

_NUMBERS = {ValueType.I32, ValueType.I64, ValueType.F32, ValueType.F64}


def to_js(kind: ValueType) -> Callable[[Any], Any]:
    """What makes a Python number one for `realm.js`."""
    return str if kind is ValueType.I64 else _same


def from_js(kind: ValueType) -> Callable[[Any], Any]:
    """What makes a number from `realm.js` one of its type; whole floats come as ints."""
    return int if kind in (ValueType.I32, ValueType.I64) else float


def _same(value: Any) -> Any:
    return value


class V8Instance(Instance):
    """One instance, in the realm of the thread that made it."""

    def __init__(self, module: V8Module, side: HostSide, realm: Realm) -> None:
        super().__init__(module, side.gate)
        self._side = side
        self._realm = realm
        self._bits: dict[str, Callable[..., Any]] = {}
        number, fuel = side.number, json.dumps(module.plan.fuel)
        side.gate.set_fuel = lambda amount: realm.js.setGlobal(number, fuel, "i64", str(amount))
        self._finalizer = weakref.finalize(self, realm.forget, "Instance", number)
        self._finalizer.atexit = False

    def _callable(self, key: str, type: FuncType, bind: Callable[[], Any]) -> Callable[..., Any]:
        """A function of V8 as the marshalling calls it; `bind` finds it."""
        realm, gate, number = self._realm, self._side.gate, self._side.number
        params = [to_js(kind) for kind in type.params]
        results = [from_js(kind) for kind in type.results]

        def call(*values: Any) -> Any:
            function = realm.bound(number, key, bind)
            result = function(*[convert(value) for convert, value in zip(params, values)])
            if result is None:
                pending = gate.take_pending()
                raise trap(str(realm.js.failure())) if pending is None else pending
            if len(results) == 1:
                return results[0](result)
            return tuple(convert(value) for convert, value in zip(results, result or ()))

        return call

    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        name, func_type = export.name, cast(FuncType, export.type)
        js, number, kinds = self._realm.js, self._side.number, " ".join(func_type.params)
        shown = json.dumps(name)
        call = self._callable(f"={name}", func_type, lambda: js.bind(number, shown, kinds))
        return value_export(name, func_type, self._gate, call, signed=True)

    def _call_bits(self, export: ExportType, args: tuple[int, ...]) -> int | tuple[int, ...] | None:
        name, func_type = export.name, cast(FuncType, export.type)
        if not _NUMBERS.issuperset(func_type.params + func_type.results):
            return super()._call_bits(export, args)
        check_bits(name, func_type, args)
        if name not in self._bits:
            self._bits[name] = self._bind_bits(name, func_type)
        return self._bits[name](*args)  # type: ignore[no-any-return]

    def _bind_bits(self, name: str, func_type: FuncType) -> Callable[..., Any]:
        js, number, outside = self._realm.js, self._side.number, bits_type(func_type)
        kinds, adapter = " ".join(outside.params), bits_adapter(func_type).decode("latin-1")
        shown = json.dumps(name)
        call = self._callable(
            f"#{name}", outside, lambda: js.bindBits(number, shown, kinds, adapter)
        )
        return value_export(name, outside, self._gate, call, signed=True)

    def _bind_memory(self, export: ExportType) -> Memory:
        return V8Memory(self._side, self._realm, export.name)

    def _bind_global(self, export: ExportType) -> Global:
        name, kind = export.name, cast(GlobalType, export.type)
        js, number, shown = self._realm.js, self._side.number, json.dumps(name)
        enter, leave = to_js(kind.value), from_js(kind.value)
        return ValueGlobal(
            name,
            kind,
            self._gate,
            lambda: leave(js.getGlobal(number, shown)),
            lambda value: js.setGlobal(number, shown, str(kind.value), enter(value)),
            signed=True,
        )

    def _close(self) -> None:
        self._finalizer()
        self._realm.sweep()
        self._side.functions.clear()
        self._bits.clear()


class V8Memory(CopiedMemory):
    """One memory, of which JavaScript gives copies as text."""

    __slots__ = ("_js", "_most_pages", "_name", "_number")

    def __init__(self, side: HostSide, realm: Realm, name: str) -> None:
        super().__init__(side.gate)
        self._js = realm.js
        self._number = side.number
        self._most_pages = side.gate.most_pages
        self._name = json.dumps(name)

    def _length(self) -> int:
        return int(self._js.size(self._number, self._name))

    def _read(self, ptr: int, size: int) -> bytes:
        return self._js.read(self._number, self._name, ptr, size).encode("latin-1")  # type: ignore[no-any-return]

    def _write(self, ptr: int, data: bytes) -> None:
        self._js.write(self._number, self._name, ptr, data.decode("latin-1"))

    def _grow(self, pages: int) -> bool:
        if self._length() // PAGE_SIZE + pages > self._most_pages:
            return False
        return self._js.grow(self._number, self._name, pages) is not None
