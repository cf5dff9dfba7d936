"""The quickstart's Python guests answer the same as its WebAssembly guests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from anywasm.abi.buffer import Buffer
from anywasm.abi.enums import BufferType, LogLevel
from anywasm.abi.guest import Guest
from anywasm.abi.host import HostServices, ServiceCall
from anywasm.abi.imports import blocks
from anywasm.abi.pairs import encode_pairs
from anywasm.abi.plugin import PluginIdentity
from anywasm.core.errors import PluginError, StateStoreError, TrapError
from anywasm.core.memory import PAGE_SIZE
from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.config import PluginConfig, VmConfig
from anywasm.plugins.errors import FunctionError
from anywasm.plugins.function import FunctionRequest, FunctionResponse
from anywasm.plugins.functions import FunctionService
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.router import FunctionRouter
from anywasm.sdk import guest_bytes
from anywasm.testing.quickstart import register_quickstart

Lines = list[tuple[LogLevel, str]]
Call = Callable[..., tuple[FunctionResponse | str, Lines]]


class Store:
    """Answers from a table; the key `broken` fails."""

    def __init__(self, data: Mapping[bytes, bytes]) -> None:
        self.data = data

    def get(self, key: bytes, timeout: float) -> bytes | None:
        if key == b"broken":
            raise StateStoreError("out of order")
        return self.data.get(key)

    def close(self) -> None:
        pass


DATA = {b"book1": b"100", b"a b&": "é".encode(), b"empty": b"", b"big": b"x" * 200_000}


def module(engine: str, name: str) -> Module:
    register_quickstart()
    vm = get_wasm_engine(engine)
    return vm.compile(guest_bytes(name) if vm.capabilities.wasm else name.encode())


@pytest.fixture
def call(
    tmp_path_factory: pytest.TempPathFactory,
) -> Call:
    """Calls a quickstart function on an engine; what came of it, and what it logged."""

    def run(
        engine: str,
        body: bytes,
        id: str = "id_1",
        configuration: bytes = b"",
        only: str | None = None,
        trailers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> tuple[FunctionResponse | str, Lines]:
        register_quickstart()
        lines: Lines = []
        router = FunctionRouter()
        service = FunctionService(router)
        manager = PluginManager(
            HostServices(
                log=lambda level, plugin, message: lines.append((level, f"{plugin}: {message}")),
                state_stores={"state_demo": Store(DATA), "other": Store({b"book1": b"7"})},
                invoke=service.invoke,
            )
        )
        manager.add_handler(router)
        wasm = get_wasm_engine(engine).capabilities.wasm
        folder = tmp_path_factory.mktemp("guests")
        try:
            for name in ("function_1", "function_2"):
                if only in (None, name):
                    path = folder / f"{name}.wasm"
                    path.write_bytes(guest_bytes(name) if wasm else name.encode())
                    told = configuration if name == "function_2" else b""
                    vm_config = VmConfig(engine=engine, path=path)
                    manager.add(PluginConfig(name=name, vm_config=vm_config, plugin_config=told))
            headers = ((b":method", b"POST"), (b":path", b"/"), (b"id", id.encode()))
            return service.serve(id, FunctionRequest(headers, body, trailers)), lines
        except (FunctionError, PluginError) as error:
            return str(error), lines
        finally:
            manager.close()

    return run


CASES = {
    "found": {"body": b"name=book1"},
    "not there": {"body": b"name=book2"},
    "first of two": {"body": b"a=b&name=book1&name=empty"},
    "escapes": {"body": b"n%61me=a+b%26"},
    "broken escapes": {"body": b"name=%zz%4"},
    "no equals sign": {"body": b"name"},
    "other fields": {"body": b"names=x&Name=y"},
    "no body": {"body": b""},
    "trailers": {"body": b"name=book1", "trailers": ((b"t", b"1"),)},
    "trailers only": {"body": b"", "trailers": ((b"t", b"1"),)},
    "large value": {"body": b"name=big"},
    "store fails": {"body": b"name=broken"},
    "nobody to invoke": {"body": b"name=book1", "only": "function_1"},
    "second directly": {"body": b"book1", "id": "id_2"},
    "second without body": {"body": b"", "id": "id_2"},
    "second with broken store": {"body": b"broken", "id": "id_2"},
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
def test_python_guests_answer_as_the_wasm_guests_do(call: Call, case: dict[str, object]) -> None:
    answer, lines = call("null", **case)
    wanted, wanted_lines = call("wasmtime", **case)
    assert answer == wanted
    # The C guest also calls its refusal of the configuration a failed read, with status OK.
    assert lines == [line for line in wanted_lines if not line[1].endswith("failed with status 0")]


def test_answer_of_the_quickstart(
    call: Call,
) -> None:
    answer, lines = call("null", b"name=book1")
    assert isinstance(answer, FunctionResponse)
    assert answer.status == 200
    assert answer.body == b"There are 100 inventories for book1."
    assert lines == []


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
