"""A guest from its first function to its last, and what happens when one of them fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from anywasm.abi.buffer import Buffer
from anywasm.abi.context import Context, StreamContext
from anywasm.abi.guest import Guest, GuestLimits
from anywasm.abi.plugin import PluginIdentity
from anywasm.core.errors import AbiError, AnyWasmError, DeadlineExceededError, TrapError, TrapKind
from anywasm.core.registry import get_wasm_engine

Start = Callable[..., Guest]
Text = Callable[..., str]

PLUGIN = PluginIdentity("p", configuration=b"plugin cfg", vm_configuration=b"vm")
LOG = '(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))'
LIFE = {
    "_initialize": 0,
    "main": 2,
    "proxy_get_id": 0,
    "proxy_on_context_create": 2,
    "proxy_on_vm_start": 2,
    "proxy_on_configure": 2,
    "proxy_on_done": 1,
    "proxy_on_log": 1,
    "proxy_on_delete": 1,
}
ANSWERING = {"main", "proxy_on_vm_start", "proxy_on_configure", "proxy_on_done"}


def recorder(module_text: Text, change: dict[str, str] | None = None, **names: int) -> str:
    """A guest whose functions log their names and arguments, each a digit; then `change` runs."""
    parts = []
    for index, (name, arity) in enumerate((names or LIFE).items()):
        at = 64 * (index + 1)
        parts.append(f'(data (i32.const {at}) "{name}")')
        digits = "".join(
            f"(i32.store8 (i32.const {at + len(name) + 1 + 2 * i})"
            f" (i32.add (i32.const 48) (i32.and (i32.const 63) (local.get {i}))))"
            f"(i32.store8 (i32.const {at + len(name) + 2 * i}) (i32.const 32))"
            for i in range(arity)
        )
        result = " (result i32)" if name in ANSWERING else ""
        body = (change or {}).get(name, "(i32.const 1)" if result else "")
        parts.append(
            f'(func (export "{name}"){" (param i32)" * arity}{result} {digits}'
            f"(drop (call $log (i32.const 2) (i32.const {at})"
            f" (i32.const {len(name) + 2 * arity}))) {body})"
        )
    return module_text(*parts, imports=LOG)


@pytest.fixture
def lines() -> list[str]:
    """What guests have logged."""
    return []


@pytest.fixture
def record(start: Start, module_text: Text, lines: list[str]) -> Callable[..., Guest]:
    """Starts a recording guest."""

    def record(
        change: dict[str, str] | None = None, limits: GuestLimits | None = None, **names: int
    ) -> Guest:
        text = recorder(module_text, change, **names)
        return start(text, PLUGIN, limits, log=lambda level, plugin, line: lines.append(line))

    return record


def test_a_life_in_order(record: Callable[..., Guest], lines: list[str]) -> None:
    guest = record({"proxy_get_id": ""})
    with pytest.raises(AbiError, match="proxy_get_id gave no id"):
        guest.get_id()
    root = guest.create_root(PLUGIN)
    first, second = guest.create_stream(root), guest.create_stream(root)
    guest.end(first)
    guest.end(first)
    guest.close()
    assert lines == [
        "_initialize",
        "main 0 0",
        "proxy_get_id",
        "proxy_on_context_create 1 0",
        "proxy_on_vm_start 1 2",
        "proxy_on_configure 1 :",  # 10 bytes
        "proxy_on_context_create 2 1",
        "proxy_on_context_create 3 1",
        "proxy_on_done 2",
        "proxy_on_log 2",
        "proxy_on_delete 2",
        "proxy_on_done 3",
        "proxy_on_log 3",
        "proxy_on_delete 3",
        "proxy_on_done 1",
        "proxy_on_delete 1",
    ]
    assert second.id == 3
    assert guest.instance.closed


@pytest.mark.parametrize(
    ("names", "called"),
    [
        ({"_start": 0, "main": 2}, ["_start"]),
        ({"_initialize": 0, "_start": 0}, ["_initialize"]),
        ({"_initialize": 0, "__main_void": 0}, ["_initialize", "__main_void"]),
        ({"_initialize": 0, "main": 2, "__main_void": 0}, ["_initialize", "main 0 0"]),
        ({"main": 2}, []),
    ],
)
def test_commands_and_reactors_initialize_themselves(
    record: Callable[..., Guest], lines: list[str], names: dict[str, int], called: list[str]
) -> None:
    record(**names)
    assert lines == called


def test_a_guest_without_callbacks_lives(start: Start, module_text: Text) -> None:
    guest = start(module_text())
    root = guest.create_root(PLUGIN)
    guest.end(guest.create_stream(root))
    assert guest.get_id() is None
    guest.close()


def test_ids_are_never_used_again(start: Start, module_text: Text) -> None:
    guest = start(module_text())
    root = guest.create_root(PLUGIN)
    seen = {root.id}
    for _ in range(5):
        stream = guest.create_stream(root)
        assert stream.id not in seen
        assert guest.context(stream.id) is stream
        seen.add(stream.id)
        guest.end(stream)
        assert guest.context(stream.id) is None
    other = guest.create_root(PLUGIN)
    assert other.id not in seen


@pytest.mark.parametrize("name", ["proxy_on_vm_start", "proxy_on_configure"])
def test_a_guest_may_refuse_to_start(
    record: Callable[..., Guest], lines: list[str], name: str
) -> None:
    guest = record({name: "(i32.const 0)"})
    with pytest.raises(AbiError, match=f"refused to start: {name} returned false"):
        guest.create_root(PLUGIN)
    assert lines[-1].startswith(name)
    # Others may share the guest: it goes on, and only forgets the one that was refused.
    assert guest.failed is None
    assert guest.context(1) is None
    count = len(lines)
    guest.close()
    assert len(lines) == count


@pytest.mark.parametrize("name", ["_initialize", "main"])
def test_a_trap_while_initializing_is_the_end(record: Callable[..., Guest], name: str) -> None:
    with pytest.raises(TrapError):
        record({name: "unreachable"})


@pytest.mark.parametrize(
    "name", ["proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure"]
)
def test_a_trap_while_the_root_is_made_leaves_a_failed_guest(
    record: Callable[..., Guest], lines: list[str], name: str
) -> None:
    guest = record({name: "unreachable"})
    with pytest.raises(TrapError):
        guest.create_root(PLUGIN)
    assert isinstance(guest.failed, TrapError)
    count = len(lines)
    guest.close()
    assert len(lines) == count


@pytest.mark.parametrize("name", ["proxy_on_done", "proxy_on_log", "proxy_on_delete"])
def test_a_trap_at_the_end_takes_the_context_along(
    record: Callable[..., Guest], lines: list[str], name: str
) -> None:
    guest = record({name: "unreachable"})
    root = guest.create_root(PLUGIN)
    stream = guest.create_stream(root)
    with pytest.raises(TrapError):
        guest.end(stream)
    assert guest.context(stream.id) is None
    assert lines[-1] == f"{name} {stream.id}"
    guest.end(root)
    assert lines[-1] == f"{name} {stream.id}"


def test_a_trap_wakes_the_streams_that_wait(start: Start, module_text: Text) -> None:
    guest = start(module_text('(func (export "trap") unreachable)'))
    root = guest.create_root(PLUGIN)
    streams = [guest.create_stream(root) for _ in range(3)]
    woken: list[tuple[int, bool]] = []
    for stream in streams:
        driver: Any = SimpleNamespace(notify=_noting(woken, guest, stream))
        stream.driver = driver
    with pytest.raises(TrapError):
        guest.call(streams[0], guest.instance.exports["trap"])
    assert {stream_id for stream_id, _ in woken} >= {streams[1].id, streams[2].id}
    assert all(outside for _, outside in woken)


def _noting(
    woken: list[tuple[int, bool]], guest: Guest, stream: StreamContext
) -> Callable[[], None]:
    return lambda: woken.append((stream.id, guest.entered is None))


def test_a_stream_without_time_is_not_made(record: Callable[..., Guest], lines: list[str]) -> None:
    guest = record()
    root = guest.create_root(PLUGIN)
    count = len(lines)
    with pytest.raises(DeadlineExceededError):
        guest.create_stream(root, time.monotonic() - 1)
    assert guest.failed is None
    guest.close()
    # The guest never heard of it, so that it is not told of its end either.
    assert lines[count:] == ["proxy_on_done 1", "proxy_on_delete 1"]


def test_a_stream_that_ran_out_of_time_is_still_ended(
    record: Callable[..., Guest], lines: list[str]
) -> None:
    guest = record()
    stream = guest.create_stream(guest.create_root(PLUGIN))
    stream.deadline = time.monotonic() - 1
    guest.end(stream)
    assert lines[-3:] == ["proxy_on_done 2", "proxy_on_log 2", "proxy_on_delete 2"]


def test_a_guest_that_does_not_return_is_stopped(engine: str, record: Callable[..., Guest]) -> None:
    if not get_wasm_engine(engine).capabilities.interrupt:
        pytest.skip("this engine cannot interrupt")
    limits = GuestLimits(start=0.05, call=0.05)
    with pytest.raises(DeadlineExceededError):
        record({"_initialize": "(loop (br 0))"}, limits)
    guest = record({"proxy_on_context_create": "(loop (br 0))"}, limits)
    with pytest.raises(DeadlineExceededError):
        guest.create_root(PLUGIN)
    assert isinstance(guest.failed, DeadlineExceededError)


# --- phases --------------------------------------------------------------------------------------

TIME = '(import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))'
RANDOM = '(import "wasi_snapshot_preview1" "random_get" (func $r (param i32 i32) (result i32)))'


def test_only_logging_and_wasi_are_allowed_while_initializing(
    start: Start, module_text: Text, lines: list[str]
) -> None:
    log = "(drop (call $log (i32.const 2) (i32.const 0) (i32.const 0)))"
    random = "(drop (call $r (i32.const 8) (i32.const 8)))"
    start(
        module_text(f'(func (export "_initialize") {log} {random})', imports=LOG + RANDOM),
        log=lambda level, plugin, line: lines.append(line),
    )
    assert lines == [""]
    for function in ("_initialize", "_start"):
        text = module_text(
            f'(func (export "{function}") (drop (call $time (i32.const 8))))', imports=TIME
        )
        with pytest.raises(TrapError, match="proxy_get_current_time_nanoseconds may not be called"):
            start(text)


def test_a_start_section_reaches_no_memory_and_does_no_harm(
    start: Start, module_text: Text
) -> None:
    guest = start(
        module_text(
            '(global $status (export "status") (mut i32) (i32.const 99))',
            "(func $go (global.set $status (call $log (i32.const 2) (i32.const 0) (i32.const 4))))",
            "(start $go)",
            imports=LOG,
        )
    )
    status: Any = guest.instance.exports["status"]
    assert status.value == 6


def test_a_start_section_that_does_not_end_is_stopped(
    engine: str, start: Start, module_text: Text
) -> None:
    if not get_wasm_engine(engine).capabilities.interrupt:
        pytest.skip(f"{engine} cannot interrupt a guest")
    text = module_text("(func $on (loop $on (br $on)))", "(start $on)")
    with pytest.raises(DeadlineExceededError):
        start(text, limits=GuestLimits(start=0.05))


def test_a_start_section_may_not_use_the_host_either(start: Start, module_text: Text) -> None:
    text = module_text("(func $go (drop (call $time (i32.const 8))))", "(start $go)", imports=TIME)
    with pytest.raises(AnyWasmError, match="proxy_get_current_time_nanoseconds may not be called"):
        start(text)


def test_an_allocator_may_log_and_little_else(probing: Callable[..., Any]) -> None:
    for mode in (5, 7, 3, 6):
        probe = probing()
        probe.stream.buffers[0] = Buffer(b"data")
        probe.allocator(mode)
        if mode == 6:
            assert probe.ask("proxy_get_buffer_bytes", 0, 0, 9) == (0, b"data")
            continue
        with pytest.raises(TrapError):
            probe.ask("proxy_get_buffer_bytes", 0, 0, 9)
        assert isinstance(probe.guest.failed, TrapError)
        assert not probe.guest.phase


@pytest.mark.parametrize("names", [("proxy_on_memory_allocate", "malloc"), ("malloc",)])
def test_the_specs_allocator_comes_before_malloc(
    start: Start, module_text: Text, names: tuple[str, ...]
) -> None:
    functions = {
        name: f'(func (export "{name}") (param i32) (result i32) (i32.const {1024 * (i + 1)}))'
        for i, name in enumerate(names)
    }
    guest = start(
        module_text(
            '(func (export "get") (result i32) (call $get (i32.const 0) (i32.const 0)'
            " (i32.const 9) (i32.const 16) (i32.const 20)))",
            imports='(import "env" "proxy_get_buffer_bytes"'
            " (func $get (param i32 i32 i32 i32 i32) (result i32)))",
            allocator="".join(reversed(functions.values())),
        )
    )
    stream = guest.create_stream(guest.create_root(PLUGIN))
    stream.buffers[0] = Buffer(b"data")
    assert guest.call(stream, guest.instance.exports["get"]) == 0
    memory: Any = guest.instance.memory
    assert memory.read_u32(16) == 1024


# --- configuration and id ------------------------------------------------------------------------

GET = '(import "env" "proxy_get_buffer_bytes" (func $get (param i32 i32 i32 i32 i32) (result i32)))'


def test_each_configuration_is_there_in_its_own_callback_only(
    start: Start, module_text: Text
) -> None:
    def read(kind: int, at: int) -> str:
        return (
            f"(i32.store (i32.const {at + 8}) (call $get (i32.const {kind}) (i32.const 0)"
            f" (i32.const 99) (i32.const {at}) (i32.const {at + 4})))"
        )

    heap = (
        "(global $h (mut i32) (i32.const 4096))"
        '(func (export "malloc") (param i32) (result i32) (global.get $h)'
        " (global.set $h (i32.add (global.get $h) (local.get 0))))"
    )
    guest = start(
        module_text(
            f'(func (export "proxy_on_vm_start") (param i32 i32) (result i32) {read(6, 16)}'
            f" {read(7, 32)} (i32.const 1))",
            f'(func (export "proxy_on_configure") (param i32 i32) (result i32) {read(6, 48)}'
            f" {read(7, 64)} (i32.const 1))",
            imports=GET,
            allocator=heap,
        ),
        PLUGIN,
    )
    guest.create_root(PLUGIN)
    memory: Any = guest.instance.memory

    def seen(at: int) -> tuple[int, bytes]:
        ptr, size, status = (memory.read_u32(at + 4 * i) for i in range(3))
        return status, memory.read(ptr, size)

    assert [seen(at) for at in (16, 32, 48, 64)] == [
        (0, b"vm"),
        (1, b""),
        (0, b""),
        (0, b"plugin cfg"),
    ]


def telling(module_text: Text, data: str) -> str:
    """A guest that gives itself an id."""
    return module_text(
        f'(data (i32.const 8) "{data}")',
        f'(func (export "proxy_get_id") (if (i32.const {int(bool(data))}) (then (drop (call $set'
        " (i32.const 8) (i32.const 0) (i32.const 0x7fffffff) (i32.const 8)"
        f" (i32.const {len(data) if chr(92) not in data else 1}))))))",
        imports='(import "env" "proxy_set_buffer_bytes"'
        " (func $set (param i32 i32 i32 i32 i32) (result i32)))",
    )


def test_a_guest_tells_its_id_and_nobody_inherits_it(start: Start, module_text: Text) -> None:
    guest = start(telling(module_text, "id_1"))
    assert guest.get_id() == "id_1"
    assert guest.get_id() == "id_1"
    silent = start(telling(module_text, ""))
    with pytest.raises(AbiError, match="proxy_get_id gave no id"):
        silent.get_id()


def test_an_id_must_be_text(start: Start, module_text: Text) -> None:
    guest = start(telling(module_text, "\\ff"))
    with pytest.raises(AbiError, match="not UTF-8"):
        guest.get_id()


# --- the effective context -----------------------------------------------------------------------


def test_each_entry_begins_with_its_own_context_and_ends_with_the_outer_one(probe: Any) -> None:
    guest = probe.guest
    outside = guest.effective
    other = guest.create_stream(probe.root)
    seen: list[Context] = []
    guest.call(probe.stream, lambda: _nest(guest, other, seen))
    assert seen == [probe.stream, other, probe.root, other]
    assert guest.effective is outside
    assert guest.entered is None


def _nest(guest: Guest, other: StreamContext, seen: list[Context]) -> None:
    seen.append(guest.effective)
    guest.effective = other
    seen.append(guest.effective)
    guest.call(other.root, lambda: seen.append(guest.effective))
    seen.append(guest.effective)


def test_the_outer_context_comes_back_after_a_trap(probe: Any) -> None:
    guest = probe.guest
    outside = guest.effective

    def fail() -> None:
        guest.effective = probe.root
        raise TrapError(TrapKind.OTHER)

    with pytest.raises(TrapError):
        guest.call(probe.stream, fail)
    assert guest.effective is outside
    assert guest.entered is None
