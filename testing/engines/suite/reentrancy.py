from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from anywasm.core.errors import TrapError
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.engines.null.library import NullGuest, export

pytestmark = pytest.mark.capable(reentrant=True)

Guest = Callable[[str, type[NullGuest]], Module]

WAT = """(module
  (import "env" "visit" (func $visit (param i32) (result i32)))
  (memory (export "memory") 1 100)
  (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
  (func (export "peek") (param i32) (result i32) local.get 0 i32.load)
  (func (export "poke") (param i32 i32) local.get 0 local.get 1 i32.store)
  (func (export "boom") unreachable)
  (func (export "run") (param i32) (result i32) (local i32 i64)
    local.get 0 i32.const 1000 i32.mul local.set 1
    local.get 0 i64.extend_i32_u i64.const 1000000 i64.mul local.set 2
    local.get 0 call $visit
    local.get 1 i32.add
    local.get 2 i32.wrap_i64 i32.add))
"""


class Reentrant(NullGuest):
    imports: ClassVar = {"env": {"visit": "i32 -> i32"}}
    memory_maximum = 100

    @export("i32 -> i32")
    def grow(self, pages: int) -> int:
        return self.memory.grow(pages)

    @export("i32 -> i32")
    def peek(self, ptr: int) -> int:
        return self.memory.read_u32(ptr)

    @export("i32 i32 ->")
    def poke(self, ptr: int, value: int) -> None:
        self.memory.write_u32(ptr, value)

    @export("->")
    def boom(self) -> None:
        raise AssertionError

    @export("i32 -> i32")
    def run(self, level: int) -> Any:
        first, second = level * 1000, level * 1000000
        return self.host["env"]["visit"](level) + first + second


def test_growth_in_a_nested_call_is_seen_by_everyone(guest: Guest) -> None:
    def visit(level: int) -> int:
        memory = instance.memory
        assert memory is not None
        before = memory.size
        assert instance.exports["grow"](10) == before // 65536
        assert memory.size == before + 10 * 65536
        end = memory.size - 4
        memory.write_u32(end, 0xDEADBEEF)
        assert instance.exports["peek"](end) == 0xDEADBEEF
        instance.exports["poke"](end, 42)
        assert memory.read_u32(end) == 42
        memory.write(8, b"kept")
        return end

    with guest(WAT, Reentrant).instantiate({"env": {"visit": visit}}) as instance:
        memory = instance.memory
        assert memory is not None
        memory.write(0, b"start")
        assert instance.exports["run"](3) == 11 * 65536 - 4 + 3000 + 3000000
        assert memory.read(0, 5) == b"start"
        assert memory.read(8, 4) == b"kept"
        assert memory.size == 11 * 65536


def test_every_level_keeps_its_own_values(guest: Guest) -> None:
    def visit(level: int) -> Any:
        assert instance.exports["grow"](1) == 31 - level
        return 0 if level == 1 else instance.exports["run"](level - 1)

    with guest(WAT, Reentrant).instantiate({"env": {"visit": visit}}) as instance:
        total = sum(range(31))
        assert instance.exports["run"](30) == total * 1001000
        assert instance.memory is not None
        assert instance.memory.size == 31 * 65536


def test_nested_trap_can_be_caught_by_the_host(guest: Guest) -> None:
    def visit(level: int) -> int:
        with pytest.raises(TrapError):
            instance.exports["boom"]()
        return 5

    with guest(WAT, Reentrant).instantiate({"env": {"visit": visit}}) as instance:
        for _ in range(3):
            assert instance.exports["run"](1) == 1001005


def test_nested_trap_passes_through_the_host(guest: Guest) -> None:
    raised: list[TrapError] = []

    def visit(level: int) -> int:
        try:
            instance.exports["boom"]()
        except TrapError as error:
            raised.append(error)
            raise
        return 0

    with guest(WAT, Reentrant).instantiate({"env": {"visit": visit}}) as instance:
        with pytest.raises(TrapError) as caught:
            instance.exports["run"](1)
        assert caught.value is raised[0]
        assert instance.exports["grow"](0) == 1


def test_two_instances_call_each_other(guest: Guest) -> None:
    module = guest(WAT, Reentrant)
    instances: list[Instance] = []

    def visit(level: int) -> Any:
        return level and instances[level % 2].exports["run"](level - 1)

    imports = {"env": {"visit": visit}}
    with module.instantiate(imports) as first, module.instantiate(imports) as second:
        instances += [first, second]
        assert first.exports["run"](10) == sum(range(11)) * 1001000
