"""Guests that call out: through the ABI, on every engine, to real services."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
import wasmtime

from anywasm.abi.guest import Guest
from anywasm.abi.host import HostServices
from anywasm.abi.pairs import encode_pairs
from anywasm.abi.plugin import PluginIdentity
from anywasm.core.registry import get_wasm_engine
from anywasm.server.callouts import GrpcCalls, HttpCalls, LoopTimers, RedisCalls
from anywasm.server.upstream import Cluster, UpstreamClusters

IMPORTS = {
    "proxy_log": 3,
    "proxy_http_call": 10,
    "proxy_grpc_call": 12,
    "proxy_grpc_stream": 9,
    "proxy_grpc_send": 4,
    "proxy_grpc_close": 1,
    "proxy_grpc_cancel": 1,
    "proxy_get_status": 3,
    "proxy_redis_init": 7,
    "proxy_redis_call": 5,
    "proxy_get_buffer_bytes": 5,
    "proxy_set_tick_period_milliseconds": 1,
}
#: Where host functions put what they give, and where the guest notes what it was told.
OUT, COUNT, NOTES = 64, 8188, 8192
(ASKED, HTTP, INITIAL, MESSAGE, TRAILING, CLOSED, STATUS, REDIS) = range(8)

CALLBACKS = f"""
(func $note (param $tag i32) (param $a i32) (param $b i32) (param $c i32) (param $d i32)
  (local $at i32)
  (local.set $at (i32.add (i32.const {NOTES}) (i32.mul (i32.load (i32.const {COUNT}))
    (i32.const 20))))
  (i32.store (local.get $at) (local.get $tag))
  (i32.store offset=4 (local.get $at) (local.get $a))
  (i32.store offset=8 (local.get $at) (local.get $b))
  (i32.store offset=12 (local.get $at) (local.get $c))
  (i32.store offset=16 (local.get $at) (local.get $d))
  (i32.store (i32.const {COUNT}) (i32.add (i32.load (i32.const {COUNT})) (i32.const 1))))
(func $say (param $buffer i32)
  (drop (call $proxy_get_buffer_bytes (local.get $buffer) (i32.const 0) (i32.const 1000000)
    (i32.const {OUT}) (i32.const {OUT + 4})))
  (drop (call $proxy_log (i32.const 2) (i32.load (i32.const {OUT}))
    (i32.load (i32.const {OUT + 4})))))
(func (export "proxy_on_http_call_response")
  (param $root i32) (param $id i32) (param $headers i32) (param $body i32) (param i32)
  (call $note (i32.const {HTTP}) (local.get $root) (local.get $id) (local.get $headers)
    (local.get $body))
  (call $say (i32.const 4))
  (if (global.get $trap) (then unreachable)))
(func (export "proxy_on_grpc_receive_initial_metadata") (param i32 i32 i32)
  (call $note (i32.const {INITIAL}) (local.get 0) (local.get 1) (local.get 2) (i32.const 0)))
(func (export "proxy_on_grpc_receive") (param i32 i32 i32)
  (call $note (i32.const {MESSAGE}) (local.get 0) (local.get 1) (local.get 2) (i32.const 0))
  (call $say (i32.const 5)))
(func (export "proxy_on_grpc_receive_trailing_metadata") (param i32 i32 i32)
  (call $note (i32.const {TRAILING}) (local.get 0) (local.get 1) (local.get 2) (i32.const 0)))
(func (export "proxy_on_grpc_close") (param i32 i32 i32)
  (call $note (i32.const {CLOSED}) (local.get 0) (local.get 1) (local.get 2) (i32.const 0))
  (call $note (i32.const {STATUS})
    (call $proxy_get_status (i32.const {OUT + 8}) (i32.const {OUT}) (i32.const {OUT + 4}))
    (i32.load (i32.const {OUT + 8})) (i32.const 0) (i32.const 0))
  (drop (call $proxy_log (i32.const 2) (i32.load (i32.const {OUT}))
    (i32.load (i32.const {OUT + 4})))))
(func (export "proxy_on_redis_call_response") (param i32 i32 i32 i32)
  (call $note (i32.const {REDIS}) (local.get 0) (local.get 1) (local.get 2) (local.get 3))
  (call $say (i32.const 9)))
"""


class Script:
    """Writes a guest in WebAssembly text."""

    def __init__(self) -> None:
        self._data: list[str] = []
        self._next = 65536

    def put(self, data: bytes) -> str:
        """Have the guest own some bytes; their address and size, as arguments."""
        at, self._next = self._next, self._next + len(data)
        escaped = "".join(f"\\{byte:02x}" for byte in data)
        self._data.append(f'(data (i32.const {at}) "{escaped}")')
        return f"(i32.const {at}) (i32.const {len(data)})"

    def ask(self, function: str, *args: bytes | int, out: bool = True) -> str:
        """Call a host function and note its status and the number that it gave."""
        given = [self.put(arg) if isinstance(arg, bytes) else f"(i32.const {arg})" for arg in args]
        if out:
            given.append(f"(i32.const {OUT})")
        return (
            f"(i32.store (i32.const {OUT}) (i32.const 0)) (call $note (i32.const {ASKED}) "
            f"(call $proxy_{function} {' '.join(given)}) (i32.load (i32.const {OUT})) "
            "(i32.const 0) (i32.const 0))"
        )

    def http(self, path: bytes = b"/", cluster: bytes = b"up", timeout: int = 10_000) -> str:
        pairs = [(b":method", b"GET"), (b":path", path), (b":authority", b"a.test")]
        return self.ask("http_call", cluster, encode_pairs(pairs), b"", b"", timeout)

    def grpc_call(self, method: bytes, upstream: bytes = b"grpc", message: bytes = b"hi") -> str:
        return self.ask("grpc_call", upstream, b"test.S", method, b"", message, 10_000)

    def grpc_stream(self, method: bytes, upstream: bytes = b"grpc") -> str:
        return self.ask("grpc_stream", upstream, b"test.S", method, b"")

    def text(self, configure: list[str], tick: str, trap: bool) -> str:
        imports = "\n".join(
            f'(import "env" "{name}" (func ${name} (param{" i32" * count}) (result i32)))'
            for name, count in IMPORTS.items()
        )
        return f"""(module {imports}
          (memory (export "memory") 3)
          (global $heap (mut i32) (i32.const 131072))
          (global $trap i32 (i32.const {int(trap)}))
          (func (export "proxy_abi_version_0_2_100"))
          (func (export "proxy_on_memory_allocate") (param i32) (result i32)
            (global.get $heap)
            (global.set $heap (i32.add (global.get $heap) (local.get 0))))
          {CALLBACKS}
          (func (export "proxy_on_configure") (param i32 i32) (result i32)
            {" ".join(configure)} (i32.const 1))
          (func (export "proxy_on_tick") (param i32) {tick})
          {" ".join(self._data)})"""


class Driven:
    """A guest that lives on the loop's thread."""

    def __init__(self, looping: Any, engine: str, text: str, services: dict[str, Any]) -> None:
        self.looping = looping
        self.lines: list[str] = []
        self.broken = threading.Event()
        self._text = text
        self._engine = engine
        self._services = services
        self.guest: Guest = looping.do(self._make)

    def _make(self) -> Guest:
        module = get_wasm_engine(self._engine).compile(bytes(wasmtime.wat2wasm(self._text)))
        identity = PluginIdentity("probe")
        services = HostServices(
            log=lambda level, plugin, line: self.lines.append(line), **self._services
        )
        guest = Guest(module, identity, services)
        loop = self.looping.loop
        guest.poster = lambda job: loop.call_soon_threadsafe(guest.run_soon, job)
        guest.on_failed = self.broken.set
        guest.create_root(identity)
        return guest

    def _read(self) -> list[tuple[int, ...]]:
        memory: Any = self.guest.instance.memory
        data = memory.read(NOTES, 20 * memory.read_u32(COUNT))
        return list(struct.iter_unpack("<5I", data))

    @property
    def notes(self) -> list[tuple[int, ...]]:
        """What the guest noted: a kind and four numbers each."""
        notes: list[tuple[int, ...]] = self.looping.do(self._read)
        return notes

    def close(self) -> None:
        self.looping.do(self.guest.close)


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]
    """`/unary` and `/stream` answer what they get, `/refuse` refuses, `/hold` waits."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        if name in ("unary", "refuse"):
            return grpc.unary_unary_rpc_method_handler(getattr(self, name))
        return grpc.stream_stream_rpc_method_handler(getattr(self, name))

    def unary(self, message: bytes, context: Any) -> bytes:
        return b"grpc " + message

    def refuse(self, message: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "not here")
        raise AssertionError

    def stream(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.send_initial_metadata((("x-a", "1"), ("x-b", "2")))
        for message in messages:
            yield b"stream " + message
        context.set_trailing_metadata((("x-c", "3"),))

    def hold(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        context.add_callback(self.ended.set)
        context.send_initial_metadata(())
        self.ended.wait(10)
        yield b""


@pytest.fixture
def echo(clusters: UpstreamClusters) -> Iterator[Echo]:
    """The cluster `grpc`."""
    handlers = Echo()
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    clusters.add(Cluster("grpc", (("127.0.0.1", port),)))
    yield handlers
    handlers.ended.set()
    server.stop(None).wait()


@pytest.fixture
def script() -> Script:
    return Script()


Start = Callable[..., Driven]


@pytest.fixture
def start(
    looping: Any, clusters: UpstreamClusters, http_upstream: Any, engine: str, script: Script
) -> Iterator[Start]:
    """Starts the guest that the script says."""
    grpc_calls = GrpcCalls(clusters, looping.loop)
    redis_calls = RedisCalls(clusters, looping.loop)
    services = {
        "http": HttpCalls(clusters, looping.loop),
        "grpc": grpc_calls,
        "redis": redis_calls,
        "timers": LoopTimers(looping.loop),
    }
    made: list[Driven] = []

    def start(*configure: str, tick: str = "", trap: bool = False) -> Driven:
        text = script.text(list(configure), tick, trap)
        made.append(Driven(looping, engine, text, services))
        return made[-1]

    yield start
    for driven in made:
        driven.close()
    looping.run(asyncio.wait_for(grpc_calls.close(), 10))
    looping.run(redis_calls.close())


def test_every_kind_of_call_comes_back_on_the_root_context(
    start: Start,
    script: Script,
    echo: Echo,
    clusters: UpstreamClusters,
    own_valkey: Callable[..., Any],
    kit: Any,
) -> None:
    clusters.add(Cluster("redis", (("127.0.0.1", own_valkey().port),)))
    query = b"*2\r\n$4\r\nECHO\r\n$5\r\nredis\r\n"
    driven = start(
        script.http(),
        script.grpc_call(b"unary"),
        script.grpc_stream(b"stream"),
        script.ask("grpc_send", 6, b"one", 0, out=False),
        script.ask("grpc_send", 6, b"two", 1, out=False),
        script.ask("redis_init", b"redis?db=2", b"", b"", 5000, out=False),
        script.ask("redis_call", b"redis", query),
    )
    asked = [(0, 4), (0, 5), (0, 6), (0, 0), (0, 0), (0, 0), (0, 7)]
    assert driven.notes[:7] == [(ASKED, *item, 0, 0) for item in asked]
    kit.eventually(lambda: len(driven.notes) == 7 + 9)
    root = 1
    told = driven.notes[7:]
    assert [note for note in told if note[2] == 4] == [(HTTP, root, 4, 6, 2)]
    assert [note for note in told if note[2] == 5] == [(MESSAGE, root, 5, 7, 0)]
    assert [note for note in told if note[0] != STATUS and note[2] == 6] == [
        (INITIAL, root, 6, 2, 0),
        (MESSAGE, root, 6, 10, 0),
        (MESSAGE, root, 6, 10, 0),
        (TRAILING, root, 6, 1, 0),
        (CLOSED, root, 6, 0, 0),
    ]
    assert [note for note in told if note[2] == 7] == [(REDIS, root, 7, 0, 11)]
    assert (STATUS, 0, 0, 0, 0) in told
    assert sorted(driven.lines) == sorted(
        ["ok", "grpc hi", "stream one", "stream two", "", "$5\r\nredis\r\n"]
    )
    assert len(driven.guest.callouts) == 0


def test_failures_have_their_statuses(
    start: Start,
    script: Script,
    echo: Echo,
    clusters: UpstreamClusters,
    closed_port: int,
    kit: Any,
) -> None:
    clusters.add(Cluster("dead", (("127.0.0.1", closed_port),)))
    query = b"*1\r\n$4\r\nPING\r\n"
    driven = start(
        script.http(cluster=b"nowhere"),
        script.grpc_call(b"unary", b"\x0a\xff"),
        script.grpc_stream(b"stream", b"nowhere"),
        script.ask("redis_init", b"nowhere", b"", b"", 1000, out=False),
        script.ask("redis_call", b"dead", query),
        script.grpc_call(b"refuse"),
        script.ask("grpc_send", 13, b"x", 0, out=False),
        script.ask("grpc_send", 9, b"x", 0, out=False),
        script.ask("grpc_send", 10, b"x", 0, out=False),
        script.ask("grpc_close", 10, out=False),
        script.ask("redis_init", b"dead", b"", b"", 1000, out=False),
        script.ask("redis_call", b"dead", query),
        script.http(cluster=b"dead"),
        script.http(b"/hang", timeout=50),
    )
    statuses = [note[1] for note in driven.notes[:14]]
    assert statuses == [2, 4, 4, 2, 2, 0, 2, 2, 1, 1, 0, 0, 0, 0]
    ids = {kind: driven.notes[at][2] for kind, at in (("grpc", 5), ("redis", 11), ("dead", 12))}
    assert [ids[kind] % 4 for kind in ("grpc", "redis", "dead")] == [1, 3, 0]
    kit.eventually(lambda: len(driven.notes) == 14 + 5)
    told = driven.notes[14:]
    assert (CLOSED, 1, ids["grpc"], 5, 0) in told
    assert (STATUS, 0, 5, 0, 0) in told
    assert (REDIS, 1, ids["redis"], 2, 0) in told
    assert (HTTP, 1, ids["dead"], 3, 98) in told
    assert (HTTP, 1, driven.notes[13][2], 3, 24) in told
    assert "not here" in driven.lines
    assert "upstream request timeout" in driven.lines


def test_a_closed_guest_leaves_nothing_behind(
    start: Start, script: Script, echo: Echo, http_upstream: Any, looping: Any, kit: Any
) -> None:
    driven = start(script.http(b"/hang"), script.grpc_stream(b"hold"))
    kit.eventually(lambda: http_upstream.heads and (INITIAL, 1, 6, 0, 0) in driven.notes)
    assert len(driven.guest.callouts) == 2
    driven.close()
    assert http_upstream.gone.wait(10)
    assert echo.ended.wait(10)
    looping.settle()
    assert driven.lines == []
    assert len(driven.guest.callouts) == 0


def test_a_guest_that_cancels_hears_nothing(
    start: Start, script: Script, echo: Echo, looping: Any, kit: Any
) -> None:
    driven = start(
        script.grpc_call(b"unary"),
        script.ask("grpc_cancel", 5, out=False),
        script.grpc_stream(b"hold"),
        script.ask("grpc_cancel", 6, out=False),
        script.ask("grpc_cancel", 6, out=False),
        script.http(),
    )
    kit.eventually(lambda: len(driven.notes) == 7)
    assert [note[1] for note in driven.notes[:6]] == [0, 0, 0, 0, 1, 0]
    looping.settle()
    assert driven.notes[6][:2] == (HTTP, 1)
    assert len(driven.notes) == 7


def test_a_guest_that_breaks_hears_no_more(
    start: Start, script: Script, echo: Echo, http_upstream: Any, looping: Any
) -> None:
    driven = start(script.http(b"/hang"), script.grpc_stream(b"hold"), script.http(), trap=True)
    assert driven.broken.wait(10)
    assert http_upstream.gone.wait(10)
    looping.settle()
    assert len(driven.guest.callouts) == 0
    assert driven.lines[0] == "ok"
    assert len(driven.lines) == 2
    assert "unreachable" in driven.lines[1] or "failed" in driven.lines[1]


def test_ticks_call_out_too(start: Start, script: Script, looping: Any, kit: Any) -> None:
    tick = script.http()
    period = script.ask("set_tick_period_milliseconds", 20, out=False)
    driven = start(period, tick=tick)
    kit.eventually(lambda: len(driven.lines) >= 3)
    ids = [note[2] for note in driven.notes if note[0] == HTTP]
    assert ids[:3] == [4, 8, 12]
    driven.close()
    looping.settle()
    count = len(driven.lines)
    looping.run(asyncio.sleep(0.1))
    assert len(driven.lines) == count
