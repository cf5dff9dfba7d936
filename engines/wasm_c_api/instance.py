"""A running module."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.errors import InstantiationError
from anywasm.core.globals import Global
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.marshal import slot_export, slot_export_bits
from anywasm.core.memory import Memory
from anywasm.core.metering import MeteredGate
from anywasm.core.types import ExportType, FuncType, GlobalType
from anywasm.engines.wasm_c_api.calls import LAYOUT
from anywasm.engines.wasm_c_api.errors import instantiation_error
from anywasm.engines.wasm_c_api.globals import WasmCApiGlobal, fuel_setter
from anywasm.engines.wasm_c_api.library import Pointer, Vec
from anywasm.engines.wasm_c_api.memory import WasmCApiMemory

if TYPE_CHECKING:
    from anywasm.engines.wasm_c_api.module import WasmCApiModule


class WasmCApiInstance(Instance):
    """An instance in a store of its own, which goes when it is closed."""

    def __init__(
        self, module: WasmCApiModule, imports: list[Any], limits: ResourceLimits | None
    ) -> None:
        gate = MeteredGate("the instance", thread_bound=module.vm.capabilities.thread_bound)
        super().__init__(module, gate)
        self._memories: list[WasmCApiMemory] = []
        self._positions = {export.name: at for at, export in enumerate(module.exports)}
        self._calls = module.open_store(gate)
        try:
            with gate.bound_start(None if limits is None else limits.start_seconds):
                self._externs = self._start(module, imports)
        except BaseException:
            self.close()
            raise
        fuel = module.library.wasm_extern_as_global(self._externs[-1])
        gate.set_fuel = fuel_setter(self._calls, fuel)

    def _start(self, module: WasmCApiModule, imports: list[Any]) -> list[int]:
        """Link and start the native instance; its exports, in the order of the metered module."""
        calls, library, gate = self._calls, module.library, self._gate
        functions = [(f"{item.module}.{item.name}", item.type) for item in module.imports]
        check = module.plan.check
        functions.append((f"{check.module}.{check.name}", check.type))
        values = [*imports, cast(MeteredGate, gate).refill]
        externs = (ctypes.c_size_t * len(values))()
        for at, ((name, kind), fn) in enumerate(zip(functions, values)):
            native = calls.bind_host(name, cast(FuncType, kind), module.native_types[at], fn)
            externs[at] = library.wasm_func_as_extern(native)
        given, trap, exports = Vec.of(externs, ctypes.sizeof(Pointer)), Pointer(), Vec()
        calls.enter_thread()
        gate.acquire(False)
        try:
            instance = library.wasm_instance_new(
                calls.store, module.obtain(calls), ctypes.byref(given), ctypes.byref(trap)
            )
        finally:
            gate.release()
        if trap.value:
            calls.fail(trap.value, instantiation_error)
        if not instance:
            raise InstantiationError(f"no instance could be made: {module.reason()}")
        calls.natives.own(instance, library.wasm_instance_delete)
        library.wasm_instance_exports(instance, ctypes.byref(exports))
        calls.natives.own(exports, lambda vec: library.wasm_extern_vec_delete(ctypes.byref(vec)))
        return exports.pointers()

    def _extern(self, export: ExportType) -> int:
        return self._externs[self._positions[export.name]]

    def _prepare(self, export: ExportType) -> Any:
        self._gate.check_usable()
        native = self._calls.library.wasm_extern_as_func(self._extern(export))
        return self._calls.bind_export(native, cast(FuncType, export.type))

    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        slots, invoke = self._prepare(export)
        func_type = cast(FuncType, export.type)
        return slot_export(export.name, func_type, LAYOUT, self._gate, slots, invoke)

    def _call_bits(self, export: ExportType, args: tuple[int, ...]) -> int | tuple[int, ...] | None:
        slots, invoke = self._prepare(export)
        func_type = cast(FuncType, export.type)
        return slot_export_bits(func_type, LAYOUT, self._gate, slots, invoke, export.name, args)

    def _bind_memory(self, export: ExportType) -> Memory:
        self._gate.check_usable()
        native = self._calls.library.wasm_extern_as_memory(self._extern(export))
        memory = WasmCApiMemory(self._calls, native)
        self._memories.append(memory)
        self._calls.moved.append(memory.invalidate)
        return memory

    def _bind_global(self, export: ExportType) -> Global:
        self._gate.check_usable()
        native = self._calls.library.wasm_extern_as_global(self._extern(export))
        return WasmCApiGlobal(self._calls, export.name, cast(GlobalType, export.type), native)

    def _close(self) -> None:
        for memory in self._memories:
            memory.detach()
        self._calls.close()
