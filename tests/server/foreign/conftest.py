"""A guest that calls foreign functions, outside of any server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import wasmtime

from anywasm.abi.enums import LogLevel, MapType
from anywasm.abi.guest import Guest
from anywasm.abi.headers import HeaderMap
from anywasm.abi.host import HostServices
from anywasm.abi.plugin import PluginIdentity
from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.server.foreign import offer_cel

_TEXT = """(module
  (import "env" "proxy_call_foreign_function"
    (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 131072))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func (export "call") (param $context i32) (param $name i32) (param $data i32) (result i32)
    (drop (call $effective (local.get $context)))
    (call $call (i32.const 1024) (local.get $name) (i32.const 2048) (local.get $data)
      (i32.const 16) (i32.const 20))))"""


@cache
def _module() -> Module:
    return get_wasm_engine("wasmtime").compile(bytes(wasmtime.wat2wasm(_TEXT)))


class Caller:
    """A guest with a stream, which has a request."""

    def __init__(self, identity: PluginIdentity) -> None:
        self.lines: list[tuple[LogLevel, str]] = []
        services = HostServices(
            log=lambda level, plugin, line: self.lines.append((level, line)),
            log_level=LogLevel.TRACE,
        )
        self.guest = Guest(_module(), identity, services)
        self.root = self.guest.create_root(identity)
        self.stream = self.guest.create_stream(self.root)
        self.stream.maps[MapType.HTTP_REQUEST_HEADERS] = HeaderMap(
            [
                (b":path", b"/shop/book?id=7"),
                (b":method", b"GET"),
                (b":authority", b"shop.example"),
                (b"x-twice", b"one"),
                (b"x-twice", b"two"),
            ]
        )

    def call(
        self, name: str, data: str | bytes = b"", context: Any = None, effective: Any = None
    ) -> int | bytes:
        """Call a foreign function: its status, or its result where that is OK."""
        context = context or self.stream
        given = data.encode() if isinstance(data, str) else data
        memory = self.guest.instance.memory
        assert memory is not None
        memory.write(1024, name.encode())
        memory.write(2048, given)
        memory.write(16, bytes(8))
        function: Any = self.guest.instance.exports["call"]
        acting = (effective or context).id
        status: int = self.guest.call(context, function, acting, len(name), len(given))
        return status or bytes(memory.read(memory.read_u32(16), memory.read_u32(20)))

    def value(self, expression: str, context: Any = None) -> int | bytes:
        """Make an expression, evaluate and delete it: its value, or the first status not OK."""
        handle = self.call("expr_create", expression, context)
        if isinstance(handle, int):
            return handle
        value = self.call("expr_evaluate", handle, context)
        assert self.call("expr_delete", handle, context) == b""
        return value


@pytest.fixture
def calling() -> Iterator[Callable[..., Caller]]:
    """Makes callers, of a plugin of that profile."""
    made: list[Caller] = []
    offer_cel()

    def make(profile: str = "envoy") -> Caller:
        made.append(Caller(PluginIdentity("asker", root_id="root", profile=profile)))
        return made[-1]

    yield make
    for caller in made:
        caller.guest.close()


@pytest.fixture
def caller(calling: Callable[..., Caller]) -> Caller:
    """A caller as it comes."""
    return calling()
