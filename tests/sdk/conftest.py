"""Runs guests on the engines' own Python bindings, with a host that records what it is asked."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import wasmtime

from anywasm.sdk.build import build_guest

MASK = 0xFFFFFFFF
HostFunction = Callable[..., int]
Bind = Callable[[str], HostFunction]


class Guest(Protocol):
    def call(self, name: str, *arguments: int) -> int: ...
    def read(self, at: int, size: int) -> bytes: ...
    def write(self, at: int, data: bytes) -> None: ...
    def memory_size(self) -> int: ...


def imports_of(wasm: bytes) -> dict[str, int]:
    """Returns the parameter count of each imported function."""
    module = wasmtime.Module(wasmtime.Engine(), wasm)
    assert all(item.module == "env" for item in module.imports)
    types = {str(item.name): item.type for item in module.imports}
    return {
        name: len(type_.params)
        for name, type_ in types.items()
        if isinstance(type_, wasmtime.FuncType)
    }


class WasmtimeGuest:
    def __init__(self, wasm: bytes, bind: Bind, memory_limit: int | None) -> None:
        engine = wasmtime.Engine()
        self.store = wasmtime.Store(engine)
        if memory_limit is not None:
            self.store.set_limits(memory_size=memory_limit)
        linker = wasmtime.Linker(engine)
        i32 = wasmtime.ValType.i32()
        for name, count in imports_of(wasm).items():
            linker.define_func("env", name, wasmtime.FuncType([i32] * count, [i32]), bind(name))
        instance = linker.instantiate(self.store, wasmtime.Module(engine, wasm))
        self.exports = instance.exports(self.store)
        memory = self.exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self.memory = memory

    def call(self, name: str, *arguments: int) -> int:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        result = function(self.store, *(_signed(value) for value in arguments))
        return 0 if result is None else int(result) & MASK

    def read(self, at: int, size: int) -> bytes:
        return bytes(self.memory.read(self.store, at, at + size))

    def write(self, at: int, data: bytes) -> None:
        self.memory.write(self.store, data, at)

    def memory_size(self) -> int:
        return self.memory.data_len(self.store)


class Wasm3Guest:
    def __init__(self, wasm: bytes, bind: Bind, memory_limit: int | None) -> None:
        assert memory_limit is None
        wasm3: Any = importlib.import_module("wasm3")
        environment = wasm3.Environment()
        self.runtime = environment.new_runtime(64 * 1024)
        module = environment.parse_module(wasm)
        self.runtime.load(module)
        for name, count in imports_of(wasm).items():
            module.link_function("env", name, f"i({'i' * count})", bind(name))
        # The module must outlive its functions, and pywasm3 does not see to that.
        self.keep = (environment, module, wasm)

    def call(self, name: str, *arguments: int) -> int:
        result = self.runtime.find_function(name)(*(_signed(value) for value in arguments))
        return 0 if result is None else int(result) & MASK

    def read(self, at: int, size: int) -> bytes:
        return bytes(self.runtime.get_memory(0)[at : at + size])

    def write(self, at: int, data: bytes) -> None:
        self.runtime.get_memory(0)[at : at + len(data)] = data

    def memory_size(self) -> int:
        return len(self.runtime.get_memory(0))


ENGINES: dict[str, Callable[[bytes, Bind, int | None], Guest]] = {
    "wasmtime": WasmtimeGuest,
    "wasm3": Wasm3Guest,
}


def _signed(value: int) -> int:
    return value - (1 << 32) if value > 0x7FFFFFFF else value


@dataclass
class Host:
    """Answers host calls from plain attributes and keeps what it was told in `calls`."""

    buffers: dict[int, bytes] = field(default_factory=dict)
    services: dict[tuple[bytes, bytes, bytes], bytes] = field(default_factory=dict)
    state: dict[tuple[bytes, bytes], bytes] = field(default_factory=dict)
    #: Host functions that answer this status and do nothing.
    failing: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    guest: Any = None

    def bind(self, name: str) -> HostFunction:
        function = getattr(self, name)

        def call(*arguments: int) -> int:
            if name in self.failing:
                return _signed(self.failing[name])
            status: int = function(*(value & MASK for value in arguments))
            return status

        return call

    def told(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def give(self, to_data: int, to_size: int, data: bytes) -> int:
        at = self.guest.call("proxy_on_memory_allocate", len(data)) if data else 0
        assert bool(at) == bool(data)
        self.guest.write(at, data)
        self.guest.write(to_data, struct.pack("<I", at))
        self.guest.write(to_size, struct.pack("<I", len(data)))
        return 0

    def proxy_log(self, level: int, at: int, size: int) -> int:
        self.calls.append(("log", level, self.guest.read(at, size)))
        return 0

    def proxy_get_buffer_bytes(
        self, buffer: int, start: int, most: int, data: int, size: int
    ) -> int:
        if start + most > MASK:
            return 2
        if buffer not in self.buffers:
            return 1
        return self.give(data, size, self.buffers[buffer][start : start + most])

    def proxy_set_buffer_bytes(
        self, buffer: int, start: int, size: int, at: int, count: int
    ) -> int:
        value = self.guest.read(at, count)
        self.calls.append(("set_buffer", buffer, start, size, value))
        old = self.buffers.get(buffer, b"")
        self.buffers[buffer] = old[:start] + value + old[start + size :]
        return 0

    def proxy_send_local_response(
        self, code: int, _details: int, _details_size: int, body: int, body_size: int, *rest: int
    ) -> int:
        headers = self.guest.read(rest[0], rest[1])
        self.calls.append(("respond", code, self.guest.read(body, body_size), headers, rest[2]))
        return 0

    def proxy_invoke_service(self, *a: int) -> int:
        key = (self.guest.read(*a[0:2]), self.guest.read(*a[2:4]), self.guest.read(*a[4:6]))
        self.calls.append(("invoke", *key))
        return self.give(a[6], a[7], self.services[key]) if key in self.services else 10

    def proxy_get_state(self, *a: int) -> int:
        key = (self.guest.read(*a[0:2]), self.guest.read(*a[2:4]))
        self.calls.append(("get_state", *key))
        return self.give(a[4], a[5], self.state.get(key, b""))

    def proxy_add_header_map_value(self, which: int, *a: int) -> int:
        self.calls.append(("add", which, self.guest.read(*a[0:2]), self.guest.read(*a[2:4])))
        return 0

    def proxy_replace_header_map_value(self, which: int, *a: int) -> int:
        self.calls.append(("replace", which, self.guest.read(*a[0:2]), self.guest.read(*a[2:4])))
        return 0

    def proxy_remove_header_map_value(self, which: int, at: int, size: int) -> int:
        self.calls.append(("remove", which, self.guest.read(at, size)))
        return 0


@pytest.fixture(params=sorted(ENGINES))
def start(request: pytest.FixtureRequest) -> Callable[..., Host]:
    """Starts a module on each engine; the returned host has the guest as `host.guest`."""
    return _starter(request.param)


@pytest.fixture
def start_limited() -> Callable[..., Host]:
    """Starts a module where its memory can be limited from outside."""
    return _starter("wasmtime")


def _starter(engine: str) -> Callable[..., Host]:
    def start(wasm: bytes, memory_limit: int | None = None) -> Host:
        host = Host()
        host.guest = ENGINES[engine](wasm, host.bind, memory_limit)
        host.guest.call("_initialize")
        return host

    return start


@pytest.fixture(scope="session")
def allocator_wasm(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    source = Path(__file__).parent / "guests" / "allocator.c"
    return build_guest(source, tmp_path_factory.mktemp("sdk") / "allocator.wasm").read_bytes()
