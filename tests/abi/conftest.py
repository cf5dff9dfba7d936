"""Guests written as WebAssembly text, and probes that call any host function from inside one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
import wasmtime

from anywasm.abi.enums import LogLevel
from anywasm.abi.guest import Guest, GuestLimits
from anywasm.abi.host import HostServices
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.table import HOST_FUNCTIONS
from anywasm.core.module import Module
from anywasm.core.registry import engine_statuses, get_wasm_engine
from anywasm.sdk.guests import guest_bytes

#: Parameters of the host functions (proxy-wasm spec 0.2.1 and Layotto), each with an i32 result.
ENV = {
    "proxy_log": "iii",
    "proxy_get_log_level": "i",
    "proxy_get_current_time_nanoseconds": "i",
    "proxy_set_tick_period_milliseconds": "i",
    "proxy_get_buffer_bytes": "iiiii",
    "proxy_get_buffer_status": "iii",
    "proxy_set_buffer_bytes": "iiiii",
    "proxy_get_header_map_size": "ii",
    "proxy_get_header_map_pairs": "iii",
    "proxy_set_header_map_pairs": "iii",
    "proxy_get_header_map_value": "iiiii",
    "proxy_add_header_map_value": "iiiii",
    "proxy_replace_header_map_value": "iiiii",
    "proxy_remove_header_map_value": "iii",
    "proxy_get_status": "iii",
    "proxy_send_local_response": "iiiiiiii",
    "proxy_set_effective_context": "i",
    "proxy_done": "",
    "proxy_continue_stream": "i",
    "proxy_close_stream": "i",
    "proxy_http_call": "iiiiiiiiii",
    "proxy_grpc_call": "iiiiiiiiiiii",
    "proxy_grpc_stream": "iiiiiiiii",
    "proxy_grpc_send": "iiii",
    "proxy_grpc_cancel": "i",
    "proxy_grpc_close": "i",
    "proxy_set_shared_data": "iiiii",
    "proxy_get_shared_data": "iiiii",
    "proxy_register_shared_queue": "iii",
    "proxy_resolve_shared_queue": "iiiii",
    "proxy_enqueue_shared_queue": "iii",
    "proxy_dequeue_shared_queue": "iii",
    "proxy_define_metric": "iiii",
    "proxy_record_metric": "iI",
    "proxy_increment_metric": "iI",
    "proxy_get_metric": "ii",
    "proxy_get_property": "iiii",
    "proxy_set_property": "iiii",
    "proxy_call_foreign_function": "iiiiii",
    "proxy_invoke_service": "iiiiiiii",
    "proxy_get_state": "iiiiii",
}

#: What Higress adds.
HIGRESS = {
    "proxy_redis_init": "iiiiiii",
    "proxy_redis_call": "iiiii",
    "proxy_get_upstream_hosts": "ii",
    "proxy_inject_encoded_data_to_filter_chain": "iii",
}

#: Parameters of WASI preview 1, each with an errno as its result, except `proc_exit`.
WASI = {
    "args_get": "ii",
    "args_sizes_get": "ii",
    "clock_res_get": "ii",
    "clock_time_get": "iIi",
    "environ_get": "ii",
    "environ_sizes_get": "ii",
    "fd_advise": "iIIi",
    "fd_allocate": "iII",
    "fd_close": "i",
    "fd_datasync": "i",
    "fd_fdstat_get": "ii",
    "fd_fdstat_set_flags": "ii",
    "fd_fdstat_set_rights": "iII",
    "fd_filestat_get": "ii",
    "fd_filestat_set_size": "iI",
    "fd_filestat_set_times": "iIIi",
    "fd_pread": "iiiIi",
    "fd_prestat_dir_name": "iii",
    "fd_prestat_get": "ii",
    "fd_pwrite": "iiiIi",
    "fd_read": "iiii",
    "fd_readdir": "iiiIi",
    "fd_renumber": "ii",
    "fd_seek": "iIii",
    "fd_sync": "i",
    "fd_tell": "ii",
    "fd_write": "iiii",
    "path_create_directory": "iii",
    "path_filestat_get": "iiiii",
    "path_filestat_set_times": "iiiiIIi",
    "path_link": "iiiiiii",
    "path_open": "iiiiiIIii",
    "path_readlink": "iiiiii",
    "path_remove_directory": "iii",
    "path_rename": "iiiiii",
    "path_symlink": "iiiii",
    "path_unlink_file": "iii",
    "poll_oneoff": "iiii",
    "proc_exit": "i",
    "proc_raise": "i",
    "random_get": "ii",
    "sched_yield": "",
    "sock_accept": "iii",
    "sock_recv": "iiiiii",
    "sock_send": "iiiii",
    "sock_shutdown": "ii",
}

#: Addresses from which a guest's allocator, and a probe's own data, begin.
HEAP, SCRATCH = 65536, 4096
PAGES = 4

MARKER = '(func (export "proxy_abi_version_0_2_1"))'
MEMORY = f'(memory (export "memory") {PAGES})'
#: What the allocator does besides its work; see `Probe.allocator`.
ALLOCATOR = f"""
(global $heap (mut i32) (i32.const {HEAP}))
(global $mode (export "mode") (mut i32) (i32.const 0))
(global $allocations (export "allocations") (mut i32) (i32.const 0))
(func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
  (local $at i32)
  (global.set $allocations (i32.add (global.get $allocations) (i32.const 1)))
  (if (i32.eq (global.get $mode) (i32.const 1)) (then (return (i32.const 0))))
  (if (i32.eq (global.get $mode) (i32.const 2)) (then (return (i32.const -8))))
  (if (i32.eq (global.get $mode) (i32.const 3)) (then unreachable))
  (if (i32.eq (global.get $mode) (i32.const 4)) (then
    (local.set $at (i32.mul (memory.size) (i32.const 65536)))
    (drop (memory.grow (i32.const 1)))
    (return (local.get $at))))
  (if (i32.eq (global.get $mode) (i32.const 5)) (then
    (drop (call $proxy_get_current_time_nanoseconds (i32.const 8)))))
  (if (i32.eq (global.get $mode) (i32.const 6)) (then
    (drop (call $proxy_log (i32.const 2) (i32.const 0) (i32.const 0)))
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 8)))
    (drop (call $poll_oneoff (i32.const 8) (i32.const 8) (i32.const 0) (i32.const 8)))
    (drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 0) (i32.const 8)))))
  (if (i32.eq (global.get $mode) (i32.const 7)) (then
    (drop (call $random_get (i32.const 8) (i32.const 8)))))
  (local.set $at (global.get $heap))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (local.get $at))
"""


def _types(letters: str) -> list[str]:
    return ["i32" if letter == "i" else "i64" for letter in letters]


def _trampoline(module: str, name: str, letters: str) -> tuple[str, str]:
    params = "".join(f" (param {kind})" for kind in _types(letters))
    result = "" if name == "proc_exit" else " (result i32)"
    values = " ".join(f"(local.get {index})" for index in range(len(letters)))
    return (
        f'(import "{module}" "{name}" (func ${name}{params}{result}))',
        f'(func (export "call.{name}"){params}{result} (call ${name} {values}))',
    )


@cache
def _trampolines(wasi: str, version: str, callbacks: str) -> str:
    env = ENV | HIGRESS if version == "0_2_100" else ENV
    imports, functions = zip(
        *[_trampoline("env", name, letters) for name, letters in env.items()],
        *[_trampoline(wasi, name, letters) for name, letters in WASI.items()],
    )
    marker = MARKER.replace("0_2_1", version)
    return "\n".join(["(module", *imports, MEMORY, marker, ALLOCATOR, *functions, callbacks, ")"])


@cache
def _compile(engine: str, text: str) -> Module:
    return get_wasm_engine(engine).compile(bytes(wasmtime.wat2wasm(text)))


class Probe:
    """A guest that can call every host function, with a stream context to act on."""

    def __init__(self, module: Module, identity: PluginIdentity, services: dict[str, Any]) -> None:
        self.lines: list[tuple[LogLevel, str]] = []
        services.setdefault("log", lambda level, plugin, line: self.lines.append((level, line)))
        self.guest = Guest(module, identity, HostServices(**services))
        self.root = self.guest.create_root(identity)
        self.stream = self.guest.create_stream(self.root)
        self.memory: Any = self.guest.instance.memory
        self._free = SCRATCH

    def call(self, name: str, *args: int, context: Any = None) -> Any:
        function = self.guest.instance.exports[f"call.{name}"]
        return self.guest.call(context or self.stream, function, *args)

    def allocator(self, mode: int) -> None:
        """1: out of memory. 2: an address outside. 3: trap. 4: grow. 5, 7: call what it may not.

        6: call all that it may.
        """
        self.guest.instance.exports["mode"].value = mode

    @property
    def allocations(self) -> int:
        value: int = self.guest.instance.exports["allocations"].value
        return value

    def cell(self, size: int = 16) -> int:
        at = self._free
        self._free += size
        return at

    def put(self, data: bytes) -> tuple[int, int]:
        at = self.cell(len(data))
        self.memory.write(at, data)
        return at, len(data)

    def u32(self, at: int) -> int:
        value: int = self.memory.read_u32(at)
        return value

    def u64(self, at: int) -> int:
        value: int = self.memory.read_u64(at)
        return value

    def given(self, at: int) -> bytes:
        """What the host handed over, told at `at` (pointer) and `at + 4` (size)."""
        data: bytes = self.memory.read(self.u32(at), self.u32(at + 4))
        return data

    def ask(self, name: str, *args: int) -> tuple[int, bytes]:
        """Call a function with one result of bytes; its status, and what it gave."""
        at = self.cell()
        status = self.call(name, *args, at, at + 4)
        return status, self.given(at) if status == 0 else b""

    def tell(
        self, name: str, *values: int | str | bytes, context: Any = None
    ) -> int | tuple[Any, ...]:
        """Call a function with strings as data; its status, or its outputs where that is OK."""
        free = self._free
        args: list[int] = []
        for value in values:
            data = value.encode() if isinstance(value, str) else value
            args += self.put(data) if isinstance(data, bytes) else (data,)
        outputs = HOST_FUNCTIONS[name].signature.outputs
        at = self.cell(16 * len(outputs)) + 15 & ~15
        for index, kind in enumerate(outputs):
            cell = at + 8 * index
            args += (cell, cell + 4) if kind.startswith("data") else (cell,)
        status: int = self.call(name, *args, context=context)
        self._free = free
        if status or not outputs:
            return status
        reads = {"data": self.given, "data?": self.given, "u32": self.u32, "u64": self.u64}
        return tuple(reads[kind](at + 8 * index) for index, kind in enumerate(outputs))


class Scripted:
    """The guest `hostcalls`, which follows its script, and what it logs."""

    def __init__(self, module: Module, identity: PluginIdentity, services: dict[str, Any]) -> None:
        self.lines: list[str] = []
        services.setdefault("log", lambda level, plugin, line: self.lines.append(line))
        self.guest = Guest(module, identity, HostServices(**services))
        self.identity = identity

    def start(self) -> Any:
        """Make its root context; the lines of that are dropped."""
        root = self.guest.create_root(self.identity)
        self.lines.clear()
        return root

    def said(self) -> list[str]:
        """What it has logged since the last time."""
        said = self.lines[:]
        self.lines.clear()
        return said


@pytest.fixture
def scripted(engine: str, made: list[Guest]) -> Callable[..., Scripted]:
    """Starts the guest `hostcalls` with a script: lines of phase, function and arguments."""

    def scripted(script: str = "", vm_script: str = "", **more: Any) -> Scripted:
        names = {"root_id", "vm_id", "profile", "allowed_capabilities"}
        given = {name: more.pop(name) for name in names & set(more)}
        identity = PluginIdentity(
            "scripted", configuration=script.encode(), vm_configuration=vm_script.encode(), **given
        )
        scripted = Scripted(_hostcalls(engine), identity, more)
        made.append(scripted.guest)
        return scripted

    return scripted


@cache
def _hostcalls(engine: str) -> Module:
    return get_wasm_engine(engine).compile(guest_bytes("hostcalls"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # Not when this file is read: pytest's fault handler must be in place before engines install
    # theirs, or it takes their traps for crashes.
    if "engine" in metafunc.fixturenames:
        names = [s.name for s in engine_statuses() if s.vm and s.vm.capabilities.wasm]
        metafunc.parametrize("engine", names, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine that runs wasm."""
    name: str = request.param
    return name


@pytest.fixture
def compiled(engine: str) -> Callable[[str], Module]:
    """Compiles WebAssembly text."""
    return lambda text: _compile(engine, text)


@pytest.fixture
def made() -> Iterator[list[Guest]]:
    """Guests to be closed at the end."""
    guests: list[Guest] = []
    yield guests
    for guest in guests:
        guest.close()


@pytest.fixture
def start(compiled: Callable[[str], Module], made: list[Guest]) -> Callable[..., Guest]:
    """Starts a guest from WebAssembly text."""

    def start(
        text: str,
        identity: PluginIdentity | None = None,
        limits: GuestLimits | None = None,
        **services: Any,
    ) -> Guest:
        plugin = identity or PluginIdentity("probe")
        guest = Guest(compiled(text), plugin, HostServices(**services), limits)
        made.append(guest)
        return guest

    return start


@pytest.fixture
def probing(compiled: Callable[[str], Module], made: list[Guest]) -> Callable[..., Probe]:
    """Makes probes with other services or another identity."""

    def make(
        identity: PluginIdentity | None = None,
        wasi: str = "wasi_snapshot_preview1",
        version: str = "0_2_1",
        callbacks: str = "",
        **services: Any,
    ) -> Probe:
        module = compiled(_trampolines(wasi, version, callbacks))
        probe = Probe(module, identity or PluginIdentity("probe"), services)
        made.append(probe.guest)
        return probe

    return make


@pytest.fixture
def probe(probing: Callable[..., Probe]) -> Probe:
    """A probe as it comes."""
    return probing()


@pytest.fixture(scope="session")
def env_functions() -> dict[str, str]:
    """The host functions that probes can call, with their parameters."""
    return ENV


@pytest.fixture(scope="session")
def wasi_functions() -> dict[str, str]:
    """The WASI functions that probes can call, with their parameters."""
    return WASI


@pytest.fixture(scope="session")
def module_text() -> Callable[..., str]:
    """The text of a module that speaks the ABI, around the given parts.

    `imports` come first, as the format wants; `allocator` and `memory` may be left out.
    """

    def text(
        *parts: str,
        imports: str = "",
        marker: str = MARKER,
        allocator: str = '(func (export "proxy_on_memory_allocate") (param i32) (result i32) '
        "(i32.const 1024))",
        memory: str = MEMORY,
    ) -> str:
        return "\n".join(["(module", imports, memory, marker, allocator, *parts, ")"])

    return text
