from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from anywasm.core.errors import TrapError, TrapKind
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.engines.null.library import NullGuest, export
from anywasm.testing.engines.compliance import EngineCompliance

#: Bytes that the process may grow by chance; a million leaks of ten bytes are more.
SLACK = 8 << 20

WAT = """(module
  (import "env" "host" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "same") (param i32) (result i32) local.get 0)
  (func (export "ask") (param i32) (result i32) local.get 0 call $host)
  (func (export "boom") unreachable)
  (func (export "loop") (param i32)
    (loop $again
      (drop (call $host (local.get 0)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))
"""


class Leaky(NullGuest):
    imports: ClassVar = {"env": {"host": "i32 -> i32"}}

    @export("i32 -> i32")
    def same(self, value: int) -> int:
        return value

    @export("i32 -> i32")
    def ask(self, value: int) -> Any:
        return self.host["env"]["host"](value)

    @export("->")
    def boom(self) -> None:
        raise TrapError(TrapKind.UNREACHABLE)

    @export("i32 ->")
    def loop(self, count: int) -> None:
        host = self.host["env"]["host"]
        for value in range(count):
            host(value)


@pytest.fixture
def module(guest: Callable[[str, type[NullGuest]], Module]) -> Module:
    return guest(WAT, Leaky)


@pytest.fixture
def instance(module: Module) -> Iterator[Instance]:
    with module.instantiate({"env": {"host": abs}}) as instance:
        yield instance


@pytest.fixture
def growth(resident: Callable[[], int]) -> Callable[[Callable[[int], object], int], int]:
    """How much memory the process gains by `work(times)`, once it is warm."""

    def measure(work: Callable[[int], object], times: int) -> int:
        work(times // 10)
        gc.collect()
        before = resident()
        work(times)
        gc.collect()
        return resident() - before

    return measure


Growth = Callable[[Callable[[int], object], int], int]


@pytest.fixture
def rounds(compliance: type[EngineCompliance]) -> int:
    """How often a call is repeated."""
    return compliance.leak_rounds


def test_host_calls(instance: Instance, growth: Growth, rounds: int) -> None:
    assert growth(instance.exports["loop"], rounds) < SLACK


def test_export_calls(instance: Instance, growth: Growth, rounds: int) -> None:
    same = instance.exports["same"]

    def work(times: int) -> None:
        for value in range(times):
            same(value)

    assert growth(work, rounds) < SLACK


def test_memory_accesses(instance: Instance, growth: Growth, rounds: int) -> None:
    memory = instance.memory
    assert memory is not None
    same = instance.exports["same"]

    def work(times: int) -> None:
        for number in range(times):
            memory.read(0, 8)
            memory.write_u32(8, 1)
            if not number % 8:
                same(1)

    assert growth(work, rounds) < SLACK


def test_traps_and_exceptions(module: Module, growth: Growth, rounds: int) -> None:
    def fail(value: int) -> int:
        raise ValueError(value)

    with module.instantiate({"env": {"host": fail}}) as instance:
        boom, ask = instance.exports["boom"], instance.exports["ask"]

        def work(times: int) -> None:
            for value in range(times):
                for call, args in ((boom, ()), (ask, (value,))):
                    with contextlib.suppress(TrapError, ValueError):
                        call(*args)

        assert growth(work, rounds // 50) < SLACK


def test_instances(module: Module, growth: Growth, rounds: int) -> None:
    def work(times: int) -> None:
        for _ in range(times):
            with module.instantiate({"env": {"host": abs}}) as instance:
                assert instance.exports["ask"](5) == 5
                assert instance.memory is not None
                instance.memory.write(0, b"x" * 65536)

    assert growth(work, rounds // 2000) < SLACK


def test_instances_that_their_host_functions_hold(module: Module, growth: Growth) -> None:
    """As a host's do, which read the memory of the guest that calls them."""

    def once() -> None:
        held: list[Any] = []

        def host(value: int) -> int:
            return value + len(held)

        with module.instantiate({"env": {"host": host}}) as instance:
            held.extend((instance, instance.memory, instance.exports["ask"]))
            assert held[2](5) == 8

    def work(times: int) -> None:
        for _ in range(times):
            once()

    assert growth(work, 300) < SLACK


def test_modules(
    guest: Callable[[str, type[NullGuest]], Module], growth: Growth, rounds: int
) -> None:
    def work(times: int) -> None:
        for _ in range(times):
            with (
                guest(WAT, Leaky) as module,
                module.instantiate({"env": {"host": abs}}) as instance,
            ):
                assert instance.exports["ask"](5) == 5

    assert growth(work, rounds // 3000) < SLACK
