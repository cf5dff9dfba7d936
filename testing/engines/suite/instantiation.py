from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from anywasm.core.capabilities import Feature
from anywasm.core.errors import (
    ArgumentError,
    DeadlineExceededError,
    InstantiationError,
    TrapError,
    TrapKind,
    UnsupportedError,
)
from anywasm.core.limits import ResourceLimits
from anywasm.core.module import Module
from anywasm.core.vm import VM
from anywasm.engines.null.library import NullGuest, export

Guest = Callable[[str, type[NullGuest]], Module]

WAT = """(module
  (import "env" "started" (func $started (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "data")
  (func $start i32.const 0 i32.const 42 i32.store i32.const 0 i32.load call $started)
  (start $start)
  (func (export "get") (result i32) i32.const 0 i32.load))
"""


class Starting(NullGuest):
    imports: ClassVar = {"env": {"started": "i32 ->"}}

    def start(self) -> None:
        self.memory.write(8, b"data")
        self.memory.write_u32(0, 42)
        self.host["env"]["started"](self.memory.read_u32(0))

    @export("-> i32")
    def get(self) -> int:
        return self.memory.read_u32(0)


def test_start_function_runs_once_for_each_instance(guest: Guest) -> None:
    seen: list[int] = []
    module = guest(WAT, Starting)
    for count in (1, 2):
        with module.instantiate({"env": {"started": seen.append}}) as instance:
            assert seen == [42] * count
            assert instance.exports["get"]() == 42
            assert instance.memory is not None
            assert instance.memory.read(8, 4) == b"data"


class StartError(Exception):
    pass


@pytest.mark.parametrize("error", [StartError(), KeyboardInterrupt(), TrapError(TrapKind.OTHER)])
def test_host_exception_in_start_comes_out_as_itself(guest: Guest, error: BaseException) -> None:
    def started(value: int) -> None:
        raise error

    module = guest(WAT, Starting)
    with pytest.raises(type(error)) as caught:
        module.instantiate({"env": {"started": started}})
    assert caught.value is error
    module.instantiate({"env": {"started": lambda value: None}}).close()


class Trapping(NullGuest):
    def start(self) -> None:
        raise TrapError(TrapKind.UNREACHABLE)


def test_trap_in_start(guest: Guest) -> None:
    module = guest("(module (func $start unreachable) (start $start))", Trapping)
    for _ in range(2):
        with pytest.raises(InstantiationError) as caught:
            module.instantiate()
        assert isinstance(caught.value.__cause__, TrapError)
        assert caught.value.__cause__.kind is TrapKind.UNREACHABLE


class Endless(NullGuest):
    def start(self) -> None:
        self.start()


def test_endless_recursion_in_start(guest: Guest) -> None:
    text = """(module
      (func $deep (result i32) call $deep i32.const 1 i32.add)
      (func $start call $deep drop)
      (start $start))"""
    with pytest.raises(InstantiationError) as caught:
        guest(text, Endless).instantiate()
    assert isinstance(caught.value.__cause__, TrapError)
    assert caught.value.__cause__.kind is TrapKind.STACK_OVERFLOW


@pytest.mark.capable(wasm=True)
@pytest.mark.parametrize(
    "text",
    [
        '(module (memory 1) (data (i32.const 65536) "x"))',
        '(module (memory 1) (data (i32.const 65533) "four"))',
        '(module (memory 1) (data (i32.const -1) "x"))',
        '(module (memory 0) (data (i32.const 0) "x"))',
        "(module (table 1 funcref) (func) (elem (i32.const 1) 0))",
    ],
)
def test_segment_that_does_not_fit(wat: Callable[[str], Module], text: str) -> None:
    module = wat(text)
    for _ in range(2):
        with pytest.raises(InstantiationError):
            module.instantiate()


def test_limits_that_are_not_claimed_are_refused(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As no built-in engine, but one of a third party."""
    module = guest(WAT, Starting)
    without = replace(module.vm.capabilities, memory_limit=False)
    monkeypatch.setattr(module.vm, "capabilities", without, raising=False)
    with pytest.raises(UnsupportedError, match="cannot limit an instance's memory"):
        module.instantiate({"env": {"started": lambda value: None}}, ResourceLimits(1 << 20))


BOMBS = """(module (table $t 1 funcref) (memory 1)
  (func $start
    (if (i32.ge_s (memory.grow (i32.const {pages})) (i32.const 0)) (then unreachable)){more})
  (start $start)
  (export "memory" (memory 0))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"""
_TABLE = """
    (if (i32.ge_s (table.grow $t (ref.null func) (i32.const {elements})) (i32.const 0))
      (then unreachable))"""


@pytest.mark.capable(wasm=True, memory_limit=True)
def test_growth_past_the_limit_fails_in_the_guest_from_its_start_on(
    wat: Callable[[str], Module], vm: VM
) -> None:
    tables = Feature.REFERENCE_TYPES in vm.capabilities.features
    limits = ResourceLimits(memory_bytes=4 * 65536, table_elements=100)
    for pages, elements in ((4, 100), (65535, 50_000_000), (-1, -1), (1 << 31, 1 << 31)):
        more = _TABLE.format(elements=elements) if tables else ""
        with wat(BOMBS.format(pages=pages, more=more)).instantiate(limits=limits) as instance:
            assert instance.exports["grow"](3) == 1
            assert instance.exports["grow"](1) == 0xFFFFFFFF
            assert instance.exports["grow"](0) == 4
            assert instance.memory is not None
            assert instance.memory.size == 4 * 65536


@pytest.mark.capable(wasm=True)
@pytest.mark.parametrize("elements", [-1, 100_000_000])
def test_tables_that_no_host_has_room_for_end_in_errors(
    run_python: Callable[..., Any], vm: VM, assemble: Callable[[str], bytes], elements: int
) -> None:
    """Without any limit set: in a process of its own, which must not end."""
    script = """
import sys
from anywasm import AnyWasmError, get_wasm_engine
vm = get_wasm_engine(sys.argv[1])
for text in sys.argv[2:]:
    try:
        with vm.compile(bytes.fromhex(text)).instantiate() as instance:
            print(instance.exports["grow"]() in (-1, 0xFFFFFFFF))
    except AnyWasmError:
        print(True)
"""
    size = elements & 0xFFFFFFFF
    texts = [f'(module (table {size} funcref) (func (export "grow") (result i32) i32.const -1))']
    if Feature.REFERENCE_TYPES in vm.capabilities.features:
        texts.append(
            f"""(module (table $t 0 funcref) (func (export "grow") (result i32)
              (table.grow $t (ref.null func) (i32.const {size}))))"""
        )
    done = run_python(script, vm.name, *(assemble(text).hex() for text in texts))
    assert done.stdout.split() == ["True"] * len(texts), done.stderr


ENDLESS = "(module (func $start (loop $on (br $on))) (start $start))"


@pytest.mark.capable(interrupt=True)
def test_an_endless_start_function_is_stopped(wat: Callable[[str], Module]) -> None:
    module = wat(ENDLESS)
    for _ in range(2):
        with pytest.raises(DeadlineExceededError):
            module.instantiate(limits=ResourceLimits(start_seconds=0.05))
    with wat("(module)").instantiate(limits=ResourceLimits(start_seconds=0.05)) as instance:
        assert instance._gate.expires is None


@pytest.mark.capable(interrupt=False)
def test_a_bound_on_the_start_function_that_is_not_claimed_is_refused(guest: Guest) -> None:
    module = guest(WAT, Starting)
    with pytest.raises(UnsupportedError, match="cannot interrupt a module's start function"):
        module.instantiate({"env": {"started": id}}, ResourceLimits(start_seconds=1))


@pytest.mark.parametrize(
    "bad", [{"start_seconds": -1}, {"start_seconds": "1"}, {"memory_bytes": 1.5}]
)
def test_bounds_are_numbers(bad: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="at least 0"):
        ResourceLimits(**bad)


@pytest.mark.capable(wasm=False)
@pytest.mark.parametrize("code", [b"", b"nobody", b"\xff\xfe", b"x" * 1000])
def test_unknown_guest_names_the_registered_ones(vm: VM, guest: Guest, code: bytes) -> None:
    guest("", Starting)
    with pytest.raises(Exception, match=r"no Python guest is registered as .*Starting") as caught:
        vm.compile(code)
    assert type(caught.value).__name__ == "CompileError"


def test_names_in_reprs(guest: Guest) -> None:
    module = guest(WAT, Starting)
    instance: Any = module.instantiate({"env": {"started": lambda value: None}})
    name = module.vm.name
    assert repr(module.vm) == f"<engine {name} {module.vm.version}>"
    assert repr(module) == f"<{name} module, 1 imports, 2 exports>"
    assert repr(instance).endswith("open>")
    instance.close()
    assert repr(instance).endswith("closed>")
