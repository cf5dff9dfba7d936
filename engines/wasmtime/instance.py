"""A running module."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.gate import CallGate
from anywasm.core.globals import Global
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.marshal import slot_export_bits
from anywasm.core.memory import Memory
from anywasm.core.types import ExportType, FuncType, GlobalType
from anywasm.engines.fastcall import gate_lock
from anywasm.engines.wasmtime.calls import LAYOUT, Calls
from anywasm.engines.wasmtime.errors import instantiation_error
from anywasm.engines.wasmtime.globals import WasmtimeGlobal
from anywasm.engines.wasmtime.library import ffi, instance_export_get, instance_new
from anywasm.engines.wasmtime.memory import WasmtimeMemory

if TYPE_CHECKING:
    from anywasm.engines.wasmtime.module import WasmtimeModule

_FUNC = ffi.wasmtime_extern_t.of.offset
_EXTERN_SIZE = ctypes.sizeof(ffi.wasmtime_extern_t)
_NO_LIMIT = -1
_MAX_LIMIT = (1 << 63) - 1


class WasmtimeInstance(Instance):
    """An instance in a store of its own, which goes when it is closed."""

    def __init__(
        self, module: WasmtimeModule, imports: list[Any], limits: ResourceLimits | None
    ) -> None:
        gate = CallGate("this wasmtime instance", lock=gate_lock())
        super().__init__(module, gate)
        self._memories: list[WasmtimeMemory] = []
        self._calls = Calls(module.epochs, gate, module.host_slots)
        try:
            if limits is not None:
                self._calls.store.set_limits(
                    memory_size=_limit(limits.memory_bytes),
                    table_elements=_limit(limits.table_elements),
                )
            seconds = None if limits is None else limits.start_seconds
            with nullcontext() if seconds is None else self.deadline(seconds):
                self._native = self._start(module, imports)
        except BaseException:
            self.close()
            raise

    def _start(self, module: WasmtimeModule, imports: list[Any]) -> Any:
        calls = self._calls
        native_module = module.native()
        # Externs of kind 0, which is a function; only functions can be imported.
        externs = (ffi.wasmtime_extern_t * len(imports))()
        for i, (item, native_type, fn) in enumerate(
            zip(module.imports, module.native_types, imports)
        ):
            calls.define_host(
                f"{item.module}.{item.name}",
                cast(FuncType, item.type),
                native_type,
                fn,
                ctypes.byref(externs, i * _EXTERN_SIZE + _FUNC),
            )
        instance = ffi.wasmtime_instance_t()
        calls.run(
            instance_new,
            calls.context,
            native_module.ptr(),
            externs,
            ctypes.c_size_t(len(imports)),
            ctypes.byref(instance),
            failure=instantiation_error,
        )
        return ctypes.byref(instance)

    def _extern(self, export: ExportType) -> Any:
        name = export.name.encode()
        extern = ffi.wasmtime_extern_t()
        found = instance_export_get(
            self._calls.context,
            self._native,
            ctypes.c_char_p(name),
            ctypes.c_size_t(len(name)),
            ctypes.byref(extern),
        )
        assert found, export
        return extern.of

    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        func_type = cast(FuncType, export.type)
        return self._calls.export(export.name, self._extern(export).func, func_type)

    def _call_bits(self, export: ExportType, args: tuple[int, ...]) -> int | tuple[int, ...] | None:
        self._gate.check_usable()
        func_type = cast(FuncType, export.type)
        slots, invoke = self._calls.bind_export(self._extern(export).func, func_type)
        return slot_export_bits(func_type, LAYOUT, self._gate, slots, invoke, export.name, args)

    def _bind_memory(self, export: ExportType) -> Memory:
        memory = WasmtimeMemory(self._calls, self._extern(export).memory)
        self._memories.append(memory)
        return memory

    def _bind_global(self, export: ExportType) -> Global:
        native = self._extern(export).global_
        return WasmtimeGlobal(self._calls, export.name, cast(GlobalType, export.type), native)

    def _arm_until(self, expires: float) -> None:
        calls = self._calls
        calls.epochs.arm(expires)
        if calls.looks_late:
            calls.look_at_next_tick()

    def _close(self) -> None:
        for memory in self._memories:
            memory.detach()
        self._calls.close()


def _limit(value: int | None) -> int:
    return _NO_LIMIT if value is None else min(value, _MAX_LIMIT)
