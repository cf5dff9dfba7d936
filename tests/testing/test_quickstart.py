"""The quickstart's Python guests answer the same as its WebAssembly guests."""

from __future__ import annotations

import asyncio
import http.client
import logging
from pathlib import Path
from typing import Any

import pytest

from anywasm.abi.buffer import Buffer
from anywasm.abi.enums import BufferType
from anywasm.abi.guest import Guest
from anywasm.abi.host import HostServices, ServiceCall
from anywasm.abi.imports import blocks
from anywasm.abi.pairs import encode_pairs
from anywasm.abi.plugin import PluginIdentity
from anywasm.core.errors import AnyWasmError, TrapError
from anywasm.core.memory import PAGE_SIZE
from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.config import AppConfig
from anywasm.sdk import guest_bytes
from anywasm.server.server import Server
from anywasm.testing.quickstart import register_quickstart

FUNCTIONS = ("function_1", "function_2")
STORES = {
    "state_demo": {
        "type": "memory",
        "data": {"book1": "100", "a b&": "é", "empty": "", "big": "x" * 200_000},
    },
    "other": {"type": "memory", "data": {"book1": "7"}},
    "broken": {"type": "redis", "url": "unix:///no/such/socket"},
}


def module(engine: str, name: str) -> Module:
    register_quickstart()
    vm = get_wasm_engine(engine)
    return vm.compile(guest_bytes(name) if vm.capabilities.wasm else name.encode())


def ask(
    port: int, id: str, body: bytes, trailers: bytes | None = None
) -> tuple[int, str | None, bytes]:
    """The status, type and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest("POST", "/")
        connection.putheader("id", id)
        connection.putheader("transfer-encoding", "chunked")
        connection.endheaders()
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        connection.send(chunk + b"0\r\n" + (trailers or b"") + b"\r\n")
        response = connection.getresponse()
        return response.status, response.getheader("content-type"), response.read()
    finally:
        connection.close()


def answer(
    engine: str,
    folder: Path,
    body: bytes,
    id: str = "id_1",
    configuration: bytes = b"",
    only: str | None = None,
    trailers: bytes | None = None,
) -> object:
    """What a server with the quickstart on an engine answers, or why it does not start."""
    register_quickstart()
    wasm = get_wasm_engine(engine).capabilities.wasm
    plugins: list[dict[str, Any]] = []
    for name in FUNCTIONS:
        path = folder / name
        path.write_bytes(guest_bytes(name) if wasm else name.encode())
        told = configuration if name == "function_2" else b""
        vm_config = {"engine": engine, "path": str(path)}
        if only in (None, name):
            plugins.append({"name": name, "vm_config": vm_config, "plugin_config": told})
    config = AppConfig.model_validate(
        {
            "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
            "plugins": plugins,
            "state_stores": STORES,
            "watch": False,
        }
    )

    async def serve() -> object:
        server = Server(config)
        try:
            await server.start()
            (address,) = server.listeners["main"].addresses
            assert isinstance(address, tuple)
            return await asyncio.to_thread(ask, address[1], id, body, trailers)
        except AnyWasmError as error:
            return str(error)
        finally:
            await server.stop()

    return asyncio.run(serve())


CASES: dict[str, dict[str, Any]] = {
    "found": {"body": b"name=book1"},
    "not there": {"body": b"name=book2"},
    "first of two": {"body": b"a=b&name=book1&name=empty"},
    "escapes": {"body": b"n%61me=a+b%26"},
    "broken escapes": {"body": b"name=%zz%4"},
    "no equals sign": {"body": b"name"},
    "other fields": {"body": b"names=x&Name=y"},
    "no body": {"body": b""},
    "trailers": {"body": b"name=book1", "trailers": b"t: 1\r\n"},
    "trailers only": {"body": b"", "trailers": b"t: 1\r\n"},
    "large value": {"body": b"name=big"},
    "nobody to invoke": {"body": b"name=book1", "only": "function_1"},
    "second directly": {"body": b"book1", "id": "id_2"},
    "second without body": {"body": b"", "id": "id_2"},
    "broken store": {"body": b"name=book1", "configuration": b"store=broken"},
    "broken store directly": {"body": b"a", "id": "id_2", "configuration": b"store=broken"},
    "store by text": {"body": b"name=book1", "configuration": b"store=other \n"},
    "store by map": {
        "body": b"name=book1",
        "configuration": encode_pairs([(b"a", b"b"), (b"store", b"other")]),
    },
    "unknown store": {"body": b"name=book1", "configuration": b"store=nowhere"},
    "empty store": {"body": b"name=book1", "configuration": b"store= "},
    "other configuration": {"body": b"name=book1", "configuration": b'{"a":1}'},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_python_guests_answer_as_the_wasm_guests_do(
    case: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        lines = [r.getMessage() for r in caplog.records if r.name == "anywasm.guest"]
        caplog.clear()
        # The C guest also calls its refusal of the configuration a failed read, with status OK.
        return [line for line in lines if not line.endswith("failed with status 0")]

    caplog.set_level(logging.INFO, "anywasm.guest")
    assert answer("null", tmp_path, **case) == answer("wasmtime", tmp_path, **case)
    lines = told()
    half = len(lines) // 2
    assert lines[:half] == lines[half:]


def test_answer_of_the_quickstart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = b"There are 100 inventories for book1."
    assert answer("null", tmp_path, b"name=book1") == (200, "text/plain; charset=utf-8", text)
    assert [record for record in caplog.records if record.name == "anywasm.guest"] == []


@pytest.mark.parametrize("name", ["function_1", "function_2"])
def test_a_guest_asks_for_what_its_wasm_twin_asks_for(name: str) -> None:
    null, wasm = module("null", name), module("wasmtime", name)
    assert {(i.module, i.name, i.type) for i in null.imports} == {
        (i.module, i.name, i.type) for i in wasm.imports
    }
    assert blocks(null)


def test_memory_is_used_again() -> None:
    asked: list[bytes] = []

    def invoke(call: ServiceCall) -> bytes:
        asked.append(call.param)
        return b"y" * len(call.param)

    identity = PluginIdentity("f")
    guest = Guest(module("null", "function_1"), identity, HostServices(invoke=invoke))
    root = guest.create_root(identity)
    sizes = []
    for _ in range(50):
        stream = guest.create_stream(root)
        stream.buffers[BufferType.HTTP_REQUEST_BODY] = Buffer(b"name=" + b"x" * 30_000)
        stream.buffers[BufferType.HTTP_RESPONSE_BODY] = Buffer()
        guest.call(stream, guest.callbacks.on_request_body, stream.id, 30_005, 1)  # type: ignore[arg-type]
        guest.end(stream)
        assert guest.instance.memory is not None
        sizes.append(guest.instance.memory.size)
    guest.close()
    assert len(asked) == 50
    assert sizes[0] > PAGE_SIZE
    assert sizes[1] == sizes[-1]


def test_a_host_that_refuses_traps_the_guest() -> None:
    # Outside of Guest.get_id there is no buffer for the id.
    identity = PluginIdentity("f")
    guest = Guest(module("null", "function_1"), identity, HostServices())
    assert guest.callbacks.get_id is not None
    with pytest.raises(TrapError, match="proxy_set_buffer_bytes failed with status 1"):
        guest.call(guest.create_root(identity), guest.callbacks.get_id)
    guest.close()
