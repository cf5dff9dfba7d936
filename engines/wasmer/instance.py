"""A running module."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from anywasm.core.errors import ClosedError
from anywasm.core.globals import Global
from anywasm.core.instance import Instance
from anywasm.core.marshal import bits_adapter, bits_type, check_bits, value_bits
from anywasm.core.memory import Memory
from anywasm.core.tables import Table
from anywasm.core.types import REFERENCES, ExportType, FuncType, GlobalType, TableType, ValueType
from anywasm.engines.wasmer.calls import bind_export
from anywasm.engines.wasmer.globals import WasmerGlobal
from anywasm.engines.wasmer.library import Binding
from anywasm.engines.wasmer.memory import WasmerMemory
from anywasm.engines.wasmer.store import WasmerStore
from anywasm.engines.wasmer.tables import WasmerTable

if TYPE_CHECKING:
    from anywasm.engines.wasmer.module import WasmerModule

_Linked = TypeVar("_Linked", WasmerMemory, WasmerTable, WasmerGlobal)


class WasmerInstance(Instance):
    """One native instance, bound to the thread that made it."""

    def __init__(
        self,
        module: WasmerModule,
        store: WasmerStore,
        binding: Binding,
        native: Any,
        *,
        shared: bool,
    ) -> None:
        super().__init__(module, store.gate, store if shared else None)
        self._binding = binding
        self._in = store
        self._native = native
        self._bits: dict[str, Callable[..., Any]] = {}
        self._frame = module.frame
        self._fuel = self._export(module.plan.fuel)
        if not shared:
            store.gate.set_fuel = _fuel_setter(weakref.ref(self))

    def _export(self, name: str) -> Any:
        exports = self._native.exports
        if hasattr(type(exports), name):
            # The attribute would be Python's: an export may be called `__class__`.
            return dict(iter(exports))[name]
        return getattr(exports, name)

    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        func_type = cast(FuncType, export.type)
        native = self._export(export.name)
        bound = bind_export(
            self._gate, export.name, func_type, native, self._frame, self._in.at_close
        )
        return self._in.add_function(bound, native)

    def _call_bits(self, export: ExportType, args: tuple[int, ...]) -> int | tuple[int, ...] | None:
        func_type = cast(FuncType, export.type)
        if not REFERENCES.isdisjoint(func_type.params + func_type.results):
            return self.exports[export.name](*args)  # type: ignore[no-any-return]  # refuses
        check_bits(export.name, func_type, args)
        call = self._bits.get(export.name)
        if call is None:
            self._gate.check()
            call = self._bits[export.name] = self._bind_bits(export.name, func_type)
        return value_bits(export.name, bits_type(func_type), call, args)

    def _bind_bits(self, name: str, type: FuncType) -> Callable[..., Any]:
        if not {ValueType.F32, ValueType.F64} & set(type.params + type.results):
            return self.exports[name]  # type: ignore[no-any-return]
        module = self._binding.module(self._in.native, bits_adapter(type))
        imports = self._binding.import_object()
        imports.register("", {"f": self._export(name)})
        adapter = self._binding.instance(module, imports).exports.f
        return bind_export(
            self._gate, name, bits_type(type), adapter, self._frame, self._in.at_close
        )

    def _bind_memory(self, export: ExportType) -> Memory:
        return self._kept(WasmerMemory(self._in.gate, self._export(export.name)))

    def _bind_table(self, export: ExportType) -> Table:
        table_type = cast(TableType, export.type)
        return self._kept(WasmerTable(self._gate, table_type, self._export(export.name)))

    def _bind_global(self, export: ExportType) -> Global:
        global_type = cast(GlobalType, export.type)
        native = self._export(export.name)
        return self._kept(WasmerGlobal(self._gate, export.name, global_type, native))

    def _kept(self, export: _Linked) -> _Linked:
        self._in.at_close.append(export.forget)
        return export

    def _close(self) -> None:
        self._bits.clear()
        del self._native, self._fuel
        self._in.release()


def _fuel_setter(reference: weakref.ref[WasmerInstance]) -> Callable[[int], None]:
    """What sets the fuel of that instance.

    Host functions refer to the gate, and the garbage collector does not see through the binding:
    a gate that held the native global would never be freed.
    """

    def set_fuel(fuel: int) -> None:
        instance = reference()
        if instance is None:
            raise ClosedError("the instance is gone: keep it for as long as it has a deadline")
        instance._fuel.value = fuel

    return set_fuel
