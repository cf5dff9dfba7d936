"""An engine for anywasm: pwasm, a WebAssembly runtime in pure Python.

It is slow, and runs wherever Python does: a fallback where nothing can be compiled or installed.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from typing import Any, cast

import pwasm
from pwasm.executor import ExportedFunction
from pwasm.runtime import Limits, MemoryInstance

from anywasm import CompileError, InstantiationError, TrapError, TrapKind, UnsupportedError
from anywasm.core.engine import (
    MOST_TABLE_ELEMENTS,
    VM,
    CallGate,
    Capabilities,
    CopiedMemory,
    Deadline,
    ExportType,
    Feature,
    FuncType,
    Global,
    GlobalType,
    Instance,
    Memory,
    Module,
    ModuleInterface,
    ResourceLimits,
    ValueGlobal,
    value_export,
    value_host,
)

#: Each call in a guest is a call in Python, up to Python's recursion limit.
SMALLEST_STACK = 1 << 20


class PwasmVM(VM):
    """Decodes modules; there is nothing to compile."""

    name = "pwasm"
    engine_api_version = 1
    capabilities = Capabilities(
        validates=False,
        interrupt=True,
        memory_limit=True,
        features=frozenset(
            {
                Feature.MUTABLE_GLOBALS,
                Feature.SIGN_EXTENSION,
                Feature.SATURATING_FLOAT_TO_INT,
                Feature.BULK_MEMORY,
                Feature.MULTI_VALUE,
                Feature.REFERENCE_TYPES,
            }
        ),
    )

    def __init__(self) -> None:
        self.version = version("pwasm")

    def _compile(self, wasm: bytes, interface: ModuleInterface) -> Module:
        try:
            decoded = pwasm.decode_module(wasm)
            for function in decoded.funcs:
                _ = function.body  # decoded when first asked for: better now than in a call
        except Exception as error:  # damaged modules make it fail in many ways
            raise CompileError(f"pwasm refuses the module: {error}") from error
        refuse_unclaimed(decoded, interface)
        return PwasmModule(self, interface, decoded)


def refuse_unclaimed(decoded: pwasm.Module, interface: ModuleInterface) -> None:
    """Refuse what pwasm decodes but cannot run."""
    if len(interface.memories) > 1:
        raise CompileError("pwasm has no multi-memory")
    if any(memory.memory64 or memory.shared for memory in interface.memories):
        raise CompileError("pwasm has neither memory64 nor threads")
    constants = [variable.init for variable in decoded.globals]
    constants += [segment.offset for segment in decoded.elem]
    constants += [segment.offset for segment in decoded.data]
    if any(len(constant) > 2 for constant in constants):  # one instruction, and `end`
        raise CompileError("pwasm has no extended-const")


class PwasmModule(Module):
    """A decoded module."""

    def __init__(self, vm: PwasmVM, interface: ModuleInterface, decoded: pwasm.Module) -> None:
        super().__init__(vm, interface)
        self._tables = interface.tables
        self._start = decoded.start
        # The start function is run apart, to tell its traps from the host's errors; and pwasm's
        # own exports are Python attributes, which not every name can be.
        self._decoded = copy.copy(decoded)
        self._decoded.start = None
        self._decoded.exports = []

    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> Instance:
        if 0 < threading.stack_size() < SMALLEST_STACK:
            raise UnsupportedError(f"pwasm needs threads with a stack of {SMALLEST_STACK} bytes")
        limits = limits or ResourceLimits()
        start = limits.start_seconds
        gate = PwasmGate(Limits(max_memory=limits.memory_bytes, check_interval=100))
        most = limits.table_elements
        most = MOST_TABLE_ELEMENTS if most is None else min(most, MOST_TABLE_ELEMENTS)
        if any(table.limits.minimum > most for table in self._tables):
            raise InstantiationError(f"a table exceeds the limit of {most} elements")
        given: dict[str, dict[str, Any]] = {}
        for wanted, function in zip(self.imports, imports):
            func_type = cast(FuncType, wanted.type)
            name = f"{wanted.module}.{wanted.name}"
            host = value_host(name, func_type, function, signed=True, gate=gate)
            given.setdefault(wanted.module, {})[wanted.name] = host
        try:
            native = pwasm.instantiate(self._decoded, given, limits=gate.limits)
            for table in native.tables:  # pwasm bounds memories only
                table.max_size = most if table.max_size is None else min(table.max_size, most)
            if self._start is not None:
                with nullcontext() if start is None else Deadline(gate, start):
                    ExportedFunction(native.functions[self._start])()
        except pwasm.Timeout as error:
            raise gate.overdue() from error
        except pwasm.TrapError as error:
            raise InstantiationError(f"the instance could not be started: {error}") from trap(error)
        except pwasm.WasmError as error:
            raise InstantiationError(str(error)) from error
        return PwasmInstance(self, gate, native)


class PwasmGate(CallGate):
    """Hands deadlines on to pwasm, which looks at the clock now and then."""

    __slots__ = ("limits",)

    def __init__(self, limits: Limits) -> None:
        super().__init__("the instance")
        self.limits = limits

    def set_expires(self, expires: float | None) -> None:
        """See `CallGate.set_expires`."""
        super().set_expires(expires)
        self.limits.set_deadline(expires)


def trap(error: pwasm.TrapError) -> TrapError:
    """The trap that pwasm describes in the words of the specification's test suite."""
    reason = str(error)
    kinds = [kind for kind in TrapKind if reason.startswith(str(kind))]
    return TrapError(kinds[0] if kinds else TrapKind.OTHER, reason)


class PwasmInstance(Instance):
    """A running instance: plain Python objects, which the garbage collector frees."""

    def __init__(self, module: PwasmModule, gate: CallGate, native: pwasm.Instance) -> None:
        super().__init__(module, gate)
        self._native = native

    def _translated(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with anywasm's errors in the place of pwasm's."""

        def call(*args: Any) -> Any:
            try:
                return function(*args)
            except pwasm.Timeout as error:
                raise self._gate.overdue() from error
            except pwasm.TrapError as error:
                raise trap(error) from error

        return call

    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        call = self._translated(ExportedFunction(self._native.functions[export.index]))
        func_type = cast(FuncType, export.type)
        return value_export(export.name, func_type, self._gate, call, signed=True)

    def _bind_memory(self, export: ExportType) -> Memory:
        return PwasmMemory(self._gate, self._native.memories[export.index])

    def _bind_global(self, export: ExportType) -> Global:
        native = self._native.globals[export.index]

        def put(value: float) -> None:
            native.value = value

        kind = cast(GlobalType, export.type)
        return ValueGlobal(export.name, kind, self._gate, lambda: native.value, put, signed=True)

    def _close(self) -> None:
        del self._native


class PwasmMemory(CopiedMemory):
    """A bytearray, which cannot grow while somebody holds a view of it."""

    __slots__ = ("_native",)

    def __init__(self, gate: CallGate, native: MemoryInstance) -> None:
        super().__init__(gate)
        self._native = native

    def _length(self) -> int:
        return len(self._native.data)

    def _read(self, ptr: int, size: int) -> bytes:
        return self._native.read(ptr, size)

    def _write(self, ptr: int, data: bytes) -> None:
        self._native.write(ptr, data)

    def _grow(self, pages: int) -> bool:
        return self._native.grow(pages) >= 0
