"""A scriptable guest, and a stage on which plugins made of it live."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
import wasmtime

from anywasm.abi.enums import LogLevel
from anywasm.abi.host import HostServices
from anywasm.core.registry import engine_statuses
from anywasm.plugins import filter_pool
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.function import FunctionRequest, FunctionResponse
from anywasm.plugins.functions import FunctionService
from anywasm.plugins.host import PluginHost
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.pool import InstancePool
from anywasm.plugins.router import FunctionRouter

T = TypeVar("T")

#: What a letter of a script does. A callback runs the script in the request header `x-N`, where N
#: is 1 for request headers, 2 for the body, 3 for trailers, 4 for response headers and 5 for the
#: response body; without such a header, the first callback of a request runs the default script.
OPERATIONS = {
    # Ends of a script: what the callback returns, or worse.
    "c": "(return (i32.const 0))",
    "p": "(global.set $paused (local.get $context)) (return (i32.const 1))",
    "2": "(return (i32.const 2))",
    "t": "(unreachable)",
    "b": "(loop $forever (br $forever))",
    # Answers: a text, the empty one, the request body.
    "a": "(drop (call $set (i32.const 1) (i32.const 0x7fffffff) (i32.const 0) (i32.const 32)"
    " (i32.const 2)))",
    "e": "(drop (call $set (i32.const 1) (i32.const 0) (i32.const 0x7fffffff) (i32.const 0)"
    " (i32.const 0)))",
    "g": "(drop (call $read (i32.const 0) (i32.const 0) (i32.const 0x7fffffff) (i32.const 8)"
    " (i32.const 12)))"
    "(drop (call $set (i32.const 1) (i32.const 0x7fffffff) (i32.const 0)"
    " (i32.load (i32.const 8)) (i32.load (i32.const 12))))",
    # Local responses, the second with a status and body of its own; the status of the answer.
    "l": "(drop (call $local (i32.const 201) (i32.const 0) (i32.const 0) (i32.const 40)"
    " (i32.const 5) (i32.const 0) (i32.const 0) (i32.const -1)))",
    "L": "(drop (call $local (i32.const 418) (i32.const 0) (i32.const 0) (i32.const 48)"
    " (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1)))",
    "z": "(drop (call $local (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 48)"
    " (i32.const 6) (i32.const 0) (i32.const 0) (i32.const -1)))",
    "s": "(if (i32.eqz (call $header (i32.const 0) (i32.const 88) (i32.const 8) (i32.const 8)"
    " (i32.const 12))) (then (drop (call $replace (i32.const 2) (i32.const 80) (i32.const 7)"
    " (i32.load (i32.const 8)) (i32.load (i32.const 12))))))",
    # What happens to the stream that paused last.
    "r": "(drop (call $effective (global.get $paused))) (drop (call $continue (i32.const 0)))"
    "(drop (call $effective (local.get $context)))",
    "R": "(drop (call $effective (global.get $paused))) (drop (call $continue (i32.const 1)))"
    "(drop (call $effective (local.get $context)))",
    "k": "(drop (call $effective (global.get $paused)))"
    "(drop (call $local (i32.const 201) (i32.const 0) (i32.const 0) (i32.const 40)"
    " (i32.const 5) (i32.const 0) (i32.const 0) (i32.const -1)))"
    "(drop (call $effective (local.get $context)))",
    "C": "(drop (call $continue (i32.const 0)))",
    "x": "(drop (call $close (i32.const 0)))",
    # Another function's answer, or `!` where it failed.
    "i": "(if (call $invoke (i32.const 128) (i32.const {call}) (i32.const 0) (i32.const 0)"
    " (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 12))"
    " (then (i32.store (i32.const 8) (i32.const 72)) (i32.store (i32.const 12) (i32.const 1))))"
    "(drop (call $set (i32.const 1) (i32.const 0x7fffffff) (i32.const 0)"
    " (i32.load (i32.const 8)) (i32.load (i32.const 12))))",
}

_CALLBACKS = {
    "proxy_on_request_headers": ("1", 3),
    "proxy_on_request_body": ("2", 3),
    "proxy_on_request_trailers": ("3", 2),
    "proxy_on_response_headers": ("4", 3),
    "proxy_on_response_body": ("5", 3),
}
_LIFE = {
    "proxy_on_context_create": (2, False),
    "proxy_on_vm_start": (2, True),
    "proxy_on_configure": (2, True),
    "proxy_on_done": (1, True),
    "proxy_on_log": (1, False),
    "proxy_on_delete": (1, False),
}


def _imports() -> str:
    counts = {
        "log": ("proxy_log", 3),
        "header": ("proxy_get_header_map_value", 5),
        "replace": ("proxy_replace_header_map_value", 5),
        "set": ("proxy_set_buffer_bytes", 5),
        "read": ("proxy_get_buffer_bytes", 5),
        "local": ("proxy_send_local_response", 8),
        "continue": ("proxy_continue_stream", 1),
        "close": ("proxy_close_stream", 1),
        "effective": ("proxy_set_effective_context", 1),
        "invoke": ("proxy_invoke_service", 8),
    }
    return "\n".join(
        f'(import "env" "{name}" (func ${short}{" (param i32)" * count} (result i32)))'
        for short, (name, count) in counts.items()
    )


def _say(at: int, text: str) -> str:
    return f"(drop (call $log (i32.const 2) (i32.const {at}) (i32.const {len(text)})))"


@cache
def _guest(id: str, call: str, default: str, life: tuple[tuple[str, str], ...]) -> bytes:
    operations = "\n".join(
        f"(if (i32.eq (local.get $op) (i32.const {ord(letter)})) (then {code}))"
        for letter, code in OPERATIONS.items()
    ).replace("{call}", str(len(call)))
    parts = []
    at = 512
    for name, (digit, arity) in _CALLBACKS.items():
        parts.append(
            f'(data (i32.const {at}) "{name}")'
            f'(func (export "{name}"){" (param i32)" * arity} (result i32)'
            f" {_say(at, name)} (call $run (i32.const {ord(digit)}) (local.get 0)))"
        )
        at += 64
    changes = dict(life)
    for name, (arity, answers) in _LIFE.items():
        result, answer = (" (result i32)", "(i32.const 1)") if answers else ("", "")
        parts.append(
            f'(data (i32.const {at}) "{name}")'
            f'(func (export "{name}"){" (param i32)" * arity}{result}'
            f" {_say(at, name)} {changes.get(name, answer)})"
        )
        at += 64
    text = f"""(module
{_imports()}
(memory (export "memory") 2)
(func (export "proxy_abi_version_0_2_1"))
(global $heap (mut i32) (i32.const 65536))
(global $paused (mut i32) (i32.const 0))
(data (i32.const 16) "x-?")
(data (i32.const 32) "ok")
(data (i32.const 40) "local")
(data (i32.const 48) "second")
(data (i32.const 72) "!")
(data (i32.const 80) ":status")
(data (i32.const 88) "x-status")
(data (i32.const 128) "{call}")
(data (i32.const 192) "{id}")
(data (i32.const 256) "{default}")
(func (export "proxy_get_id")
  (drop (call $set (i32.const 8) (i32.const 0) (i32.const 64) (i32.const 192)
    (i32.const {len(id)}))))
(func (export "malloc") (param $size i32) (result i32)
  (local $at i32)
  (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.const 131000))
    (then (global.set $heap (i32.const 65536))))
  (local.set $at (global.get $heap))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (local.get $at))
(func $run (param $phase i32) (param $context i32) (result i32)
  (local $at i32) (local $end i32) (local $op i32)
  (i32.store8 (i32.const 18) (local.get $phase))
  (if (call $header (i32.const 0) (i32.const 16) (i32.const 3) (i32.const 0) (i32.const 4))
    (then
      (if (i32.ne (local.get $phase) (i32.const 49)) (then (return (i32.const 0))))
      (i32.store (i32.const 0) (i32.const 256))
      (i32.store (i32.const 4) (i32.const {len(default)}))))
  (local.set $at (i32.load (i32.const 0)))
  (local.set $end (i32.add (local.get $at) (i32.load (i32.const 4))))
  (block $out (loop $next
    (br_if $out (i32.ge_u (local.get $at) (local.get $end)))
    (local.set $op (i32.load8_u (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    {operations}
    (br $next)))
  (i32.const 0))
{"".join(parts)})"""
    return bytes(wasmtime.wat2wasm(text))


def guest(id: str = "f", call: str = "", default: str = "a", **life: str) -> bytes:
    """A scriptable guest.

    Args:
        id: The id that it tells.
        call: The id that it invokes.
        default: The script of requests that bring none.
        life: WebAssembly text for a function of its life, such as `on_done="unreachable"`.
    """
    return _guest(id, call, default, tuple((f"proxy_{name}", text) for name, text in life.items()))


class Stage:
    """A manager with a router, and requests to what it serves."""

    def __init__(self, engine: str, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.lines: list[tuple[LogLevel, str]] = []
        self.router = FunctionRouter()
        self.functions = FunctionService(self.router)
        services = HostServices(
            log=lambda level, plugin, line: self.lines.append((level, line)),
            invoke=self.functions.invoke,
        )
        self.manager = PluginManager(PluginHost(services), drain_timeout=5.0)
        self.manager.add_handler(self.router)

    def config(self, name: str, wasm: bytes | None = None, **options: Any) -> PluginConfig:
        path = self.folder / f"{name}.wasm"
        if wasm is not None:
            path.write_bytes(wasm)
        vm = {"engine": self.engine, "path": str(path), **options.pop("vm", {})}
        return PluginConfig.model_validate({"name": name, "vm_config": vm, **options})

    def add(self, name: str = "plugin", wasm: bytes | None = None, **options: Any) -> Any:
        """Install a plugin; its wrapper."""
        options.setdefault("timeouts", {"request": 5.0, "call": 5.0, "lease": 5.0})
        self.manager.add(self.config(name, guest() if wasm is None else wasm, **options))
        return self.manager.get(name)

    def pool(self, name: str = "plugin") -> InstancePool:
        """The instances of the version that serves."""
        return self.manager.get(name).plugin.functions

    def request(
        self, *scripts: str, body: bytes = b"", trailers: bool = False, **headers: str
    ) -> FunctionRequest:
        pairs = [(b":method", b"GET"), (b":path", b"/")]
        pairs += [
            (f"x-{phase}".encode(), script.encode())
            for phase, script in enumerate(scripts, 1)
            if script
        ]
        pairs += [(f"x-{name}".encode(), value.encode()) for name, value in headers.items()]
        return FunctionRequest(tuple(pairs), body, ((b"t", b"1"),) if trailers else ())

    def ask(self, *scripts: str, id: str = "f", **more: Any) -> FunctionResponse:
        """Call a function with a script for each phase."""
        return self.functions.serve(id, self.request(*scripts, **more))

    @property
    def said(self) -> list[str]:
        """The callbacks in the order in which they ran."""
        return [line.removeprefix("proxy_on_") for level, line in self.lines if level < 3]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # Not when this file is read: pytest's fault handler must be in place before engines install
    # theirs, or it takes their traps for crashes.
    if "engine" in metafunc.fixturenames:
        names = [s.name for s in engine_statuses() if s.vm and s.vm.capabilities.wasm]
        metafunc.parametrize("engine", names, indirect=True)


@pytest.fixture(autouse=True)
def _started_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is: only what is meant to starts instances in other threads."""
    monkeypatch.setattr(filter_pool, "CHEAP_START", float("inf"))


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> str:
    """The name of an engine that runs wasm."""
    name: str = request.param
    return name


@pytest.fixture
def make_guest() -> Callable[..., bytes]:
    """Makes scriptable guests."""
    return guest


@pytest.fixture
def stage(engine: str, tmp_path: Path) -> Iterator[Stage]:
    """A stage on each engine, cleared at the end: every instance must be free by then."""
    made = Stage(engine, tmp_path)
    yield made
    made.manager.close()
    left = [t.name for t in threading.enumerate() if t.name.startswith("anywasm-retire")]
    assert not left


@pytest.fixture
def wasmtime_stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage on the engine that has all capabilities."""
    made = Stage("wasmtime", tmp_path)
    yield made
    made.manager.close()


@pytest.fixture
def later() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a call in a thread of its own; all have ended when the test has."""
    threads: list[threading.Thread] = []

    def later(function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return future

    yield later
    for thread in threads:
        thread.join()
