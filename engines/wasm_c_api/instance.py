"""A running module."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.errors import ArgumentError, LinkError, TrapError, TrapKind
from anywasm.core.globals import Global
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.marshal import SlotViews, slot_export, slot_export_bits
from anywasm.core.memory import Memory
from anywasm.core.tables import Table
from anywasm.core.types import ExportType, FuncType, GlobalType, ImportType, TableType
from anywasm.engines.wasm_c_api.calls import LAYOUT
from anywasm.engines.wasm_c_api.errors import instantiation_error
from anywasm.engines.wasm_c_api.globals import WasmCApiGlobal, fuel_setter
from anywasm.engines.wasm_c_api.library import Pointer, Vec
from anywasm.engines.wasm_c_api.memory import WasmCApiMemory
from anywasm.engines.wasm_c_api.store import WasmCApiStore
from anywasm.engines.wasm_c_api.tables import WasmCApiTable

if TYPE_CHECKING:
    from anywasm.engines.wasm_c_api.module import WasmCApiModule


#: What is imported as it is.
_LINKED = (WasmCApiMemory, WasmCApiTable, WasmCApiGlobal)


class WasmCApiInstance(Instance):
    """An instance in a store of its own, which goes when it is closed, or in one that it shares."""

    def __init__(
        self,
        module: WasmCApiModule,
        imports: list[Any],
        limits: ResourceLimits | None,
        store: WasmCApiStore | None,
    ) -> None:
        calls = self._calls = module.open_store() if store is None else store.calls
        if store is None and limits is not None:
            calls.gate.limit(limits)
        super().__init__(module, calls.gate, store)
        self._positions = {export.name: at for at, export in enumerate(module.exports)}
        try:
            calls.gate.admit(module.interface)
            with calls.gate.bound_start(None if limits is None else limits.start_seconds):
                self._externs = self._enter(module, imports)
        except BaseException:
            self.close()
            raise
        if store is None:
            calls.gate.set_fuel = fuel_setter(calls, self._externs[-1])

    def _enter(self, module: WasmCApiModule, imports: list[Any]) -> list[int]:
        gate = self._gate
        if not gate.acquire(False):
            gate.refuse()
        try:
            gate.check_usable()
            self._calls.enter_thread()
            if module.has_code:
                self._calls.frames.add(module.frame)
            return self._start(module, imports)
        finally:
            gate.release()

    def _start(self, module: WasmCApiModule, imports: list[Any]) -> list[int]:
        """Link and start the native instance; its exports, in the order of the metered module."""
        calls, library = self._calls, module.library
        wanted = [*module.imports, module.plan.check]
        values = [*imports, calls.gate.checked]
        externs = (ctypes.c_size_t * len(values))(
            *map(self._import, wanted, values, module.native_types)
        )
        given, trap, exports = Vec.of(externs, ctypes.sizeof(Pointer)), Pointer(), Vec()
        instance = library.wasm_instance_new(
            calls.store, module.obtain(calls), ctypes.byref(given), ctypes.byref(trap)
        )
        if trap.value:
            calls.fail(trap.value, instantiation_error)
        if not instance:
            raise instantiation_error(TrapError(TrapKind.OTHER, module.reason()))
        calls.natives.own(instance, library.wasm_instance_delete)
        library.wasm_instance_exports(instance, ctypes.byref(exports))
        calls.natives.own(exports, lambda vec: library.wasm_extern_vec_delete(ctypes.byref(vec)))
        return exports.pointers()

    def _import(self, item: ImportType, value: Any, native_type: int) -> int:
        """The `wasm_extern_t *` for an import."""
        calls = self._calls
        if isinstance(item.type, FuncType):
            extern = calls.function(value)
            if extern is not None:
                return extern
            return calls.bind_host(f"{item.module}.{item.name}", item.type, native_type, value)
        if isinstance(item.type, GlobalType) and not isinstance(value, Global):
            store = self.store or WasmCApiStore(self.module.vm, calls)
            try:
                value = store.new_global(item.type, value)
            except ArgumentError as error:
                raise LinkError(f"{item} was given {value!r}: {error}") from error
        if not isinstance(value, _LINKED) or value.calls is not calls:
            raise LinkError(f"{item} was given {value!r}, which is not of the instance's store")
        return value.extern

    def _extern(self, export: ExportType) -> int:
        self._gate.check_usable()
        return self._externs[self._positions[export.name]]

    def _prepare(self, export: ExportType) -> tuple[SlotViews, Callable[[], None]]:
        native = self._calls.library.wasm_extern_as_func(self._extern(export))
        return self._calls.bind_export(native, cast(FuncType, export.type))

    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        slots, invoke = self._prepare(export)
        func_type = cast(FuncType, export.type)
        bound = slot_export(export.name, func_type, LAYOUT, self._gate, slots, invoke)
        return self._calls.add_function(bound, self._extern(export))

    def _call_bits(self, export: ExportType, args: tuple[int, ...]) -> int | tuple[int, ...] | None:
        slots, invoke = self._prepare(export)
        func_type = cast(FuncType, export.type)
        return slot_export_bits(func_type, LAYOUT, self._gate, slots, invoke, export.name, args)

    def _bind_memory(self, export: ExportType) -> Memory:
        return self._calls.add_memory(WasmCApiMemory(self._calls, self._extern(export)))

    def _bind_global(self, export: ExportType) -> Global:
        global_type = cast(GlobalType, export.type)
        return WasmCApiGlobal(self._calls, export.name, global_type, self._extern(export))

    def _bind_table(self, export: ExportType) -> Table:
        return WasmCApiTable(self._calls, cast(TableType, export.type), self._extern(export))

    def _close(self) -> None:
        self._calls.close()
