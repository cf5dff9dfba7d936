"""A running module."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.errors import ArgumentError, LinkError
from anywasm.core.gate import CallGate
from anywasm.core.globals import Global
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.marshal import slot_export_bits
from anywasm.core.memory import Memory
from anywasm.core.tables import Table
from anywasm.core.types import (
    ExportType,
    ExternKind,
    FuncType,
    GlobalType,
    ImportType,
    TableType,
)
from anywasm.engines.fastcall import gate_lock
from anywasm.engines.wasmtime.calls import LAYOUT, Calls
from anywasm.engines.wasmtime.errors import instantiation_error
from anywasm.engines.wasmtime.globals import WasmtimeGlobal
from anywasm.engines.wasmtime.library import ffi, instance_export_get, instance_new
from anywasm.engines.wasmtime.memory import WasmtimeMemory
from anywasm.engines.wasmtime.store import WasmtimeStore
from anywasm.engines.wasmtime.tables import WasmtimeTable

if TYPE_CHECKING:
    from anywasm.engines.wasmtime.module import WasmtimeModule

_FUNC = ffi.wasmtime_extern_t.of.offset
_EXTERN_SIZE = ctypes.sizeof(ffi.wasmtime_extern_t)
#: For what is imported as it is: its `wasmtime_extern_kind_t`, the field, and what has one.
_KINDS: dict[ExternKind, tuple[Any, str, type[Any]]] = {
    ExternKind.MEMORY: (ffi.WASMTIME_EXTERN_MEMORY, "memory", WasmtimeMemory),
    ExternKind.TABLE: (ffi.WASMTIME_EXTERN_TABLE, "table", WasmtimeTable),
    ExternKind.GLOBAL: (ffi.WASMTIME_EXTERN_GLOBAL, "global_", WasmtimeGlobal),
}
#: What a module may have; each of them may be as large as the limits allow.
_MOST_MEMORIES, _MOST_TABLES = 8, 16


class WasmtimeInstance(Instance):
    """An instance in a store of its own, which goes when it is closed, or in one that it shares."""

    def __init__(
        self,
        module: WasmtimeModule,
        imports: list[Any],
        limits: ResourceLimits | None,
        store: WasmtimeStore | None,
    ) -> None:
        if store is None:
            gate = CallGate("this wasmtime instance", lock=gate_lock())
            self._calls = Calls(module.epochs, gate, module.host_slots)
        else:
            self._calls = store.calls
        super().__init__(module, self._calls.gate, store)
        try:
            if store is None:
                self._calls.limit(limits or ResourceLimits(), _MOST_MEMORIES, _MOST_TABLES)
            seconds = None if limits is None else limits.start_seconds
            with nullcontext() if seconds is None else self.deadline(seconds):
                self._native = self._enter(module, imports)
        except BaseException:
            self.close()
            raise

    def _enter(self, module: WasmtimeModule, imports: list[Any]) -> Any:
        gate = self._gate
        if not gate.acquire(False):
            gate.refuse()
        try:
            gate.check_usable()
            self._calls.reserve(module.host_slots)
            native = self._start(module, imports)
            self._calls.references.add_exports(self.exports)
            return native
        finally:
            gate.release()

    def _start(self, module: WasmtimeModule, imports: list[Any]) -> Any:
        calls = self._calls
        native_module = module.native()
        externs = (ffi.wasmtime_extern_t * len(imports))()
        for i, (item, native_type, value) in enumerate(
            zip(module.imports, module.native_types, imports)
        ):
            if item.kind is not ExternKind.FUNCTION:
                self._link(item, value, externs[i])
                continue
            # Externs are of kind 0, which is a function.
            func = calls.references.native(value)
            if func is not None:
                ctypes.memmove(ctypes.addressof(externs[i].of.func), func, len(func))
                continue
            calls.define_host(
                f"{item.module}.{item.name}",
                cast(FuncType, item.type),
                native_type,
                value,
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

    def _link(self, item: ImportType, value: Any, extern: Any) -> None:
        """Make the extern what is imported as it is."""
        if isinstance(item.type, GlobalType) and not isinstance(value, Global):
            store = self.store or WasmtimeStore(self.module.vm, self._calls)
            try:
                value = store.new_global(item.type, value)
            except ArgumentError as error:
                raise LinkError(f"{item} was given {value!r}: {error}") from error
        kind, field, wanted = _KINDS[item.kind]
        if not isinstance(value, wanted) or value.calls is not self._calls:
            raise LinkError(f"{item} was given {value!r}, which is not of the instance's store")
        extern.kind = kind
        setattr(extern.of, field, value.native)

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
        func, calls = self._extern(export).func, self._calls
        return calls.references.add(calls.export(export.name, func, func_type), func)

    def _bind_promising(self, export: ExportType) -> Callable[..., Generator[Any, Any, Any]]:
        func_type = cast(FuncType, export.type)
        return self._calls.promises.export(export.name, self._extern(export).func, func_type)

    @property
    def can_suspend(self) -> bool:
        """As `Instance.can_suspend`."""
        return self._calls.promises.can_suspend

    def _call_bits(self, export: ExportType, args: tuple[int, ...]) -> int | tuple[int, ...] | None:
        self._gate.check_usable()
        func_type = cast(FuncType, export.type)
        slots, invoke = self._calls.bind_export(self._extern(export).func, func_type)
        return slot_export_bits(func_type, LAYOUT, self._gate, slots, invoke, export.name, args)

    def _bind_memory(self, export: ExportType) -> Memory:
        return WasmtimeMemory(self._calls, self._extern(export).memory)

    def _bind_global(self, export: ExportType) -> Global:
        native = self._extern(export).global_
        return WasmtimeGlobal(self._calls, export.name, cast(GlobalType, export.type), native)

    def _bind_table(self, export: ExportType) -> Table:
        native = self._extern(export).table
        return WasmtimeTable(self._calls, cast(TableType, export.type), native)

    def _arm_until(self, expires: float) -> None:
        calls = self._calls
        calls.epochs.arm(expires)
        if calls.looks_late:
            calls.look_at_next_tick()

    def _close(self) -> None:
        self._calls.close()
