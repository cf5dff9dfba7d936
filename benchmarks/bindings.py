"""The engines' own Python APIs, used as their documentation shows, for comparison."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Protocol

HostFunction = Callable[[int], int]


class Raw(Protocol):
    """An instance of `crossing.wat` or `multi.wat`, without anywasm."""

    def function(self, name: str) -> Callable[..., Any]:
        """The export, as the binding calls it."""

    def read(self, at: int, size: int) -> bytes:
        """Bytes of the memory."""

    def write(self, at: int, data: bytes) -> None:
        """Change bytes of the memory."""


class RawWasmtime:
    """wasmtime-py."""

    def __init__(self, wasm: bytes, host: HostFunction) -> None:
        wasmtime: Any = importlib.import_module("wasmtime")
        engine = wasmtime.Engine()
        self._store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        i32 = wasmtime.ValType.i32()
        linker.define_func("env", "host", wasmtime.FuncType([i32], [i32]), host)
        instance = linker.instantiate(self._store, wasmtime.Module(engine, wasm))
        self._exports = instance.exports(self._store)
        self._memory = self._exports.get("memory")

    def function(self, name: str) -> Callable[..., Any]:
        """The export with its store."""
        function, store = self._exports[name], self._store
        return lambda *args: function(store, *args)

    def read(self, at: int, size: int) -> bytes:
        """Through `Memory.read`."""
        return bytes(self._memory.read(self._store, at, at + size))

    def write(self, at: int, data: bytes) -> None:
        """Through `Memory.write`."""
        self._memory.write(self._store, data, at)


class RawWasmer:
    """wasmer-python with Cranelift."""

    def __init__(self, wasm: bytes, host: HostFunction) -> None:
        wasmer: Any = importlib.import_module("wasmer")
        compiler = importlib.import_module("wasmer_compiler_cranelift").Compiler
        store = wasmer.Store(wasmer.engine.Universal(compiler))
        i32 = wasmer.Type.I32
        function = wasmer.Function(store, host, wasmer.FunctionType([i32], [i32]))
        imports = wasmer.ImportObject()
        imports.register("env", {"host": function})
        self._exports = wasmer.Instance(wasmer.Module(store, wasm), imports).exports
        # Asking for an export that is not there is an error.
        has_memory = b"memory" in wasm
        self._view = memoryview(self._exports.memory.buffer) if has_memory else None

    def function(self, name: str) -> Callable[..., Any]:
        """The export."""
        function: Callable[..., Any] = getattr(self._exports, name)
        return function

    def read(self, at: int, size: int) -> bytes:
        """Through the memory's buffer."""
        assert self._view is not None
        return bytes(self._view[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        """Through the memory's buffer."""
        assert self._view is not None
        self._view[at : at + len(data)] = data


class RawWasm3:
    """pywasm3."""

    def __init__(self, wasm: bytes, host: HostFunction) -> None:
        wasm3: Any = importlib.import_module("wasm3")
        environment = wasm3.Environment()
        self._runtime = environment.new_runtime(64 * 1024)
        module = environment.parse_module(wasm)
        self._runtime.load(module)
        if b"host" in wasm:  # it refuses what the module does not import
            module.link_function("env", "host", "i(i)", host)
        # The module must outlive its functions; the binding does not see to that.
        self._keep = (environment, module, wasm)

    def function(self, name: str) -> Callable[..., Any]:
        """The export."""
        function: Callable[..., Any] = self._runtime.find_function(name)
        return function

    def read(self, at: int, size: int) -> bytes:
        """Through the runtime's memory view."""
        return bytes(self._runtime.get_memory(0)[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        """Through the runtime's memory view."""
        self._runtime.get_memory(0)[at : at + len(data)] = data


class PlainPython:
    """No guest at all: Python functions and a bytearray."""

    def __init__(self, wasm: bytes, host: HostFunction) -> None:
        def call_host(times: int) -> int:
            value = 0
            for _ in range(times):
                value = host(value)
            return value

        self._functions: dict[str, Callable[..., Any]] = {
            "empty": lambda: None,
            "add_i32": lambda a, b: a + b,
            "add_i64": lambda a, b: a + b,
            "add_f64": lambda a, b: a + b,
            "swap": lambda a, b: (b, a),
            "call_host": call_host,
        }
        self._memory = bytearray(2 << 16)

    def function(self, name: str) -> Callable[..., Any]:
        """The function."""
        return self._functions[name]

    def read(self, at: int, size: int) -> bytes:
        """A slice."""
        return bytes(self._memory[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        """A slice."""
        self._memory[at : at + len(data)] = data


RAW: dict[str, Callable[[bytes, HostFunction], Raw]] = {
    "wasmtime binding": RawWasmtime,
    "wasmer binding": RawWasmer,
    "wasm3 binding": RawWasm3,
    "plain Python": PlainPython,
}
