"""Guests and functions without a server around them."""

from __future__ import annotations

from pathlib import Path

from anywasm.abi.buffer import Buffer
from anywasm.abi.context import RootContext
from anywasm.abi.enums import BufferType, MapType
from anywasm.abi.guest import Guest
from anywasm.abi.headers import HeaderMap
from anywasm.abi.host import HostServices
from anywasm.abi.plugin import PluginIdentity
from anywasm.benchmarks.guests import write
from anywasm.core.module import Module
from anywasm.core.vm import VM
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.function import FunctionRequest
from anywasm.plugins.functions import FunctionService
from anywasm.plugins.host import PluginHost
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.router import FunctionRouter
from anywasm.server.state.memory import MemoryOptions, MemoryStateStore

#: A request as a browser sends it.
REQUEST = (
    (b":authority", b"shop.example"),
    (b":path", b"/items?page=2"),
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b"accept", b"application/json"),
    (b"user-agent", b"bench/1.0"),
    (b"x-request-id", b"7f3c2a10-1d6e-4a52-9c55-0a1b2c3d4e5f"),
)
#: A response as it comes from a small service.
HEADERS = (
    (b":status", b"200"),
    (b"content-type", b"application/json"),
    (b"content-length", b"64"),
    (b"cache-control", b"no-cache"),
    (b"server", b"shop"),
)
KEY, VALUE = "book1", "100"
ANSWER = f"There are {VALUE} inventories for {KEY}."


class Filter:
    """A filter's instance with its root context. Close it.

    Args:
        module: What it is made of.
        configuration: The plugin's.
    """

    def __init__(self, module: Module, configuration: bytes = b"") -> None:
        identity = PluginIdentity("bench", configuration=configuration)
        self.guest = Guest(module, identity, HostServices())
        self.root: RootContext = self.guest.create_root(identity)

    def headers(self) -> HeaderMap:
        """One stream: created, given response headers, done, logged, deleted."""
        guest = self.guest
        stream = guest.create_stream(self.root)
        headers = stream.maps[MapType.HTTP_RESPONSE_HEADERS] = HeaderMap(HEADERS)
        callback = guest.callbacks.on_response_headers
        assert callback is not None
        guest.call(stream, callback, stream.id, len(HEADERS), 1)
        guest.end(stream)
        return headers

    def exchange(self) -> None:
        """One stream with the headers of a request and of its response, and no bodies."""
        guest = self.guest
        stream = guest.create_stream(self.root)
        for kind, callback, headers in (
            (MapType.HTTP_REQUEST_HEADERS, guest.callbacks.on_request_headers, REQUEST),
            (MapType.HTTP_RESPONSE_HEADERS, guest.callbacks.on_response_headers, HEADERS),
        ):
            stream.maps[kind] = HeaderMap(headers)
            if callback is not None:
                guest.call(stream, callback, stream.id, len(headers), 1)
        guest.end(stream)

    def body(self, data: bytes) -> bytes:
        """One stream, given a whole response body."""
        guest = self.guest
        stream = guest.create_stream(self.root)
        buffer = stream.buffers[BufferType.HTTP_RESPONSE_BODY] = Buffer(data)
        callback = guest.callbacks.on_response_body
        assert callback is not None
        guest.call(stream, callback, stream.id, len(data), 1)
        guest.end(stream)
        return buffer.data

    def close(self) -> None:
        """End the guest."""
        self.guest.close()


class Quickstart:
    """The two functions of the quickstart, with state in memory. Close it.

    Args:
        vm: The engine.
        folder: Where the modules are written to.
    """

    def __init__(self, vm: VM, folder: Path) -> None:
        router = FunctionRouter()
        self._functions = FunctionService(router)
        store = MemoryStateStore("state_demo", MemoryOptions(data={KEY: VALUE}))
        services = HostServices(state_stores={"state_demo": store}, invoke=self._functions.invoke)
        self._manager = PluginManager(PluginHost(services))
        self._manager.add_handler(router)
        for name in ("function_1", "function_2"):
            path = str(write(vm, name, folder))
            config = {"name": name, "vm_config": {"engine": vm.name, "path": path}}
            self._manager.add(PluginConfig.model_validate(config))
        headers = ((b":method", b"POST"), (b":path", b"/"), (b"id", b"id_1"))
        self._request = FunctionRequest(headers, f"name={KEY}".encode())

    def ask(self) -> bytes:
        """One request to the first function, which asks the second one."""
        return self._functions.serve("id_1", self._request).body

    def close(self) -> None:
        """End the functions."""
        self._manager.close()
