"""An engine as a third party would write it: on another binding, from the public interface only.

It goes by wasmtime's ordinary Python API, so it is slow; what matters is that nothing in the
framework was changed for it.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any, cast

import wasmtime

from anywasm import (
    VM,
    ArgumentError,
    Capabilities,
    CompileError,
    Feature,
    Global,
    Instance,
    InstantiationError,
    Memory,
    Module,
    ResourceLimits,
    TrapError,
    TrapKind,
)
from anywasm.core.binary import ModuleInterface
from anywasm.core.gate import CallGate
from anywasm.core.marshal import bad_arguments, value_export, value_host
from anywasm.core.types import ExportType, FuncType, GlobalType, ValueType

KINDS = {
    wasmtime.TrapCode.UNREACHABLE: TrapKind.UNREACHABLE,
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: TrapKind.MEMORY_OUT_OF_BOUNDS,
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: TrapKind.INTEGER_DIVIDE_BY_ZERO,
    wasmtime.TrapCode.STACK_OVERFLOW: TrapKind.STACK_OVERFLOW,
}


def trap(error: wasmtime.Trap) -> TrapError:
    code = error.trap_code
    kind = TrapKind.OTHER if code is None else KINDS.get(code, TrapKind.OTHER)
    return TrapError(kind, error.message)


class AcmeVM(VM):
    name = "acme"
    engine_api_version = 1
    capabilities = Capabilities(
        features=frozenset({Feature.MUTABLE_GLOBALS, Feature.SIGN_EXTENSION, Feature.BULK_MEMORY})
    )

    def __init__(self) -> None:
        self.version = "7.0"
        self._engine = wasmtime.Engine()

    def _compile(self, wasm: bytes, interface: ModuleInterface) -> Module:
        try:
            return AcmeModule(self, interface, self._engine, wasmtime.Module(self._engine, wasm))
        except wasmtime.WasmtimeError as error:
            raise CompileError(str(error)) from error


class AcmeModule(Module):
    def __init__(
        self,
        vm: AcmeVM,
        interface: ModuleInterface,
        engine: wasmtime.Engine,
        native: wasmtime.Module,
    ) -> None:
        super().__init__(vm, interface)
        self._engine = engine
        self._native = native

    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> Instance:
        gate = CallGate("the instance")
        store = wasmtime.Store(self._engine)
        given: list[Any] = []
        for item, native, value in zip(self.imports, self._native.imports, imports):
            host = value_host(str(item), cast(FuncType, item.type), value, signed=True)
            given.append(wasmtime.Func(store, cast(wasmtime.FuncType, native.type), host))
        try:
            instance = wasmtime.Instance(store, self._native, given)
        except wasmtime.Trap as error:
            raise InstantiationError(f"the start function trapped: {error}") from trap(error)
        except wasmtime.WasmtimeError as error:
            raise InstantiationError(str(error)) from error
        return AcmeInstance(self, gate, store, instance)


class AcmeInstance(Instance):
    def __init__(
        self, module: AcmeModule, gate: CallGate, store: wasmtime.Store, native: wasmtime.Instance
    ) -> None:
        super().__init__(module, gate)
        self._store = store
        self._native_exports = native.exports(store)
        self._memories: list[Memory] = []

    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        native: Any = self._native_exports[export.name]
        store = self._store

        def invoke(*args: Any) -> Any:
            try:
                return native(store, *args)
            except wasmtime.Trap as error:
                raise trap(error) from error

        func_type = cast(FuncType, export.type)
        return value_export(export.name, func_type, self._gate, invoke, signed=True)

    def _call_bits(self, export: ExportType, args: tuple[int, ...]) -> int | tuple[int, ...] | None:
        func_type = cast(FuncType, export.type)
        if len(args) != len(func_type.params):
            raise bad_arguments(export.name, func_type, args)
        call = self.exports[export.name]
        results = call(*map(from_bits, func_type.params, args))
        if len(func_type.results) > 1:
            return tuple(map(to_bits, func_type.results, results))
        return to_bits(func_type.results[0], results) if func_type.results else None

    def _bind_memory(self, export: ExportType) -> Memory:
        memory = AcmeMemory(self._gate, self._store, self._native_exports[export.name])
        self._memories.append(memory)
        return memory

    def _bind_global(self, export: ExportType) -> Global:
        return AcmeGlobal(self._gate, self._store, export, self._native_exports[export.name])

    def _close(self) -> None:
        for memory in self._memories:
            memory.invalidate()
        self._store.close()


FLOATS = {ValueType.F32: ("<I", "<f"), ValueType.F64: ("<Q", "<d")}


def from_bits(kind: ValueType, bits: int) -> float:
    if kind not in FLOATS:
        return bits
    whole, real = FLOATS[kind]
    try:
        value: float = struct.unpack(real, struct.pack(whole, bits))[0]
    except struct.error:
        raise ArgumentError(f"{bits!r} is no unsigned {kind} bits") from None
    return value


def to_bits(kind: ValueType, value: Any) -> int:
    if kind in FLOATS:
        whole, real = FLOATS[kind]
        value = struct.unpack(whole, struct.pack(real, value))[0]
    return int(value)


class AcmeMemory(Memory):
    __slots__ = ("_gate", "_native", "_store")

    def __init__(self, gate: CallGate, store: wasmtime.Store, native: Any) -> None:
        super().__init__()
        self._gate = gate
        self._store = store
        self._native = native

    def _attach(self) -> memoryview:
        self._gate.check_usable()
        size = self._native.data_len(self._store)
        address = ctypes.addressof(self._native.data_ptr(self._store).contents)
        return memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")

    def _grow(self, pages: int) -> bool:
        try:
            self._native.grow(self._store, pages)
        except wasmtime.WasmtimeError:
            return False
        return True


class AcmeGlobal(Global):
    def __init__(
        self, gate: CallGate, store: wasmtime.Store, export: ExportType, native: Any
    ) -> None:
        self.type = cast(GlobalType, export.type)
        self._name = export.name
        kind = (self.type.value,)
        self._get = value_export(
            export.name, FuncType((), kind), gate, lambda: native.value(store), signed=True
        )
        self._set = value_export(
            export.name,
            FuncType(kind, ()),
            gate,
            lambda value: native.set_value(store, value),
            signed=True,
        )

    @property
    def value(self) -> int | float:
        number: int | float = self._get()
        return number

    @value.setter
    def value(self, value: float) -> None:
        if not self.type.mutable:
            raise ArgumentError(f"global {self._name!r} is not mutable")
        self._set(value)
