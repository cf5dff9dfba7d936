from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar

import pytest

from anywasm.core.errors import (
    ArgumentError,
    ClosedError,
    ConcurrencyError,
    DeadlineExceededError,
    ExportNotFoundError,
    TrapError,
    TrapKind,
    UnsupportedError,
)
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.core.suspending import Suspending
from anywasm.core.vm import VM
from anywasm.engines.null.library import NullGuest, export

Guest = Callable[[str, type[NullGuest]], Module]
Wat = Callable[[str], Module]

WAT = """(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "plain" (func $plain (param i32) (result i32)))
  (import "env" "kinds" (func $kinds (param i64 f32 f64) (result f64 i64 f32)))
  (import "env" "note" (func $note))
  (memory (export "memory") 1 100)
  (func (export "run") (param i32) (result i32) (local i32)
    local.get 0 i32.const 1000 i32.mul local.set 1
    local.get 0 call $ask local.get 1 i32.add)
  (func $twice (export "twice") (param i32) (result i32)
    local.get 0 call $ask call $ask)
  (func (export "inner") (param i32) (result i32) local.get 0 i32.const 1 i32.add)
  (func (export "through") (param i32) (result i32) local.get 0 call $plain)
  (func (export "kinds") (param i64 f32 f64) (result f64 i64 f32)
    local.get 0 local.get 1 local.get 2 call $kinds)
  (func (export "note") call $note)
  (func (export "fail") (param i32) local.get 0 call $ask drop unreachable)
  (func (export "spin") (param i32) local.get 0 call $ask drop (loop $l br $l))
  (func $deep (export "deep") (param i32) (result i32)
    local.get 0 i32.eqz if (result i32) i32.const 1 call $ask
    else local.get 0 i32.const 1 i32.sub call $deep i32.const 1 i32.add end)
  (func $endless (export "endless") (result i32) i32.const 1 call $ask drop call $endless))
"""

ONE = """(module (import "env" "ask" (func $ask (param i32) (result i32)))
  (func (export "run") (param i32) (result i32) local.get 0 call $ask))"""


class One(NullGuest):
    imports: ClassVar = {"env": {"ask": "i32 -> i32"}}
    memory_export = None

    @export("i32 -> i32")
    def run(self, value: int) -> Any:
        return self.host["env"]["ask"](value)


class Host:
    """Host functions that ask whoever drives the call."""

    def __init__(self) -> None:
        self.instance: Instance
        self.closed = 0
        self.through: Callable[[int], int] = lambda value: value

    def ask(self, value: int) -> Any:
        return self._wait(value) if value else 7  # no generator: nothing to wait for

    def _wait(self, value: int) -> Generator[Any, int, int]:
        try:
            sent = yield ("asked", value)
            more: int = self.instance.exports["inner"](0)  # the guest can be called again
            return sent + more
        except GeneratorExit:
            self.closed += 1
            raise

    def kinds(self, a: int, b: float, c: float) -> Generator[Any, float, Any]:
        more = yield (a, b, c)
        return c + more, a, b + more

    def note(self) -> Generator[Any, None, None]:
        yield "noted"

    def imports(self) -> Any:
        return {
            "env": {
                "ask": Suspending(self.ask),
                "plain": lambda value: self.through(value),
                "kinds": Suspending(self.kinds),
                "note": Suspending(self.note),
            }
        }


@pytest.fixture
def host(wat: Wat) -> Iterator[Host]:
    found = Host()
    with wat(WAT).instantiate(found.imports()) as instance:
        found.instance = instance
        yield found


def result_of(call: Generator[Any, Any, Any], sent: Any = None) -> Any:
    with pytest.raises(StopIteration) as end:
        call.send(sent)
    return end.value.value


suspends = pytest.mark.capable(suspend=True)


@pytest.mark.capable(suspend=False)
def test_what_is_not_claimed_is_refused(guest: Guest) -> None:
    module = guest(ONE, One)
    with pytest.raises(UnsupportedError, match="suspend"):
        module.instantiate({"env": {"ask": Suspending(abs)}})
    with module.instantiate({"env": {"ask": abs}}) as instance:
        with pytest.raises(UnsupportedError, match="suspend"):
            instance.promising("run")
        assert not instance.can_suspend


@suspends
def test_a_guest_goes_on_where_it_was(host: Host) -> None:
    call = host.instance.promising("run")(5)
    assert next(call) == ("asked", 5)
    assert result_of(call, 20) == 20 + 1 + 5000


@suspends
def test_a_guest_may_be_suspended_again_and_again(host: Host) -> None:
    call = host.instance.promising("twice")(5)
    assert next(call) == ("asked", 5)
    assert call.send(20) == ("asked", 21)
    assert result_of(call, 30) == 31
    assert next(host.instance.promising("twice")(5)) == ("asked", 5)


@suspends
def test_a_result_that_is_there_suspends_nothing(host: Host) -> None:
    assert result_of(host.instance.promising("run")(0)) == 7
    assert host.instance.exports["run"](0) == 7
    assert result_of(host.instance.promising("inner")(41)) == 42


@suspends
def test_values_of_all_kinds_cross(host: Host) -> None:
    call = host.instance.promising("kinds")(2**63, 0.5, -0.0)
    assert str(next(call)) == f"({2**63}, 0.5, -0.0)"
    assert result_of(call, 2.5) == (2.5, 2**63, 3.0)
    call = host.instance.promising("note")()
    assert next(call) == "noted"
    assert result_of(call) is None


@suspends
def test_it_delegates_as_a_generator_does(host: Host) -> None:
    def outer() -> Generator[Any, int, str]:
        first = yield from host.instance.promising("run")(1)
        second = yield from host.instance.promising("run")(2)
        return f"{first} {second}"

    call = outer()
    assert next(call) == ("asked", 1)
    assert call.send(10) == ("asked", 2)
    assert result_of(call, 20) == "1011 2021"


@suspends
def test_many_instances_wait_at_once_and_go_on_in_any_order(wat: Wat) -> None:
    module, hosts, calls = wat(WAT), [], []
    for number in range(1, 21):
        host = Host()
        host.instance = module.instantiate(host.imports())
        hosts.append(host)
        calls.append(host.instance.promising("deep")(number))
        assert next(calls[-1]) == ("asked", 1)
    order = [*range(0, 20, 3), *range(2, 20, 3), *range(1, 20, 3)]
    for index in order:
        assert result_of(calls[index], 100) == 101 + index + 1
    for host in hosts:
        host.instance.close()


@suspends
def test_another_thread_may_go_on_with_it(host: Host) -> None:
    call = host.instance.promising("deep")(50)
    next(call)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(result_of(call, 100)))
    thread.start()
    thread.join()
    assert results == [151]
    assert host.instance.exports["inner"](1) == 2


@suspends
def test_a_suspended_instance_is_for_that_call_only(host: Host) -> None:
    instance = host.instance
    call = instance.promising("run")(5)
    next(call)
    with pytest.raises(ConcurrencyError, match="suspended"):
        instance.exports["inner"](1)
    with pytest.raises(ConcurrencyError, match="suspended"):
        next(instance.promising("run")(6))
    assert result_of(call, 1) == 5002


@suspends
def test_only_where_the_guest_was_entered_for_it(host: Host) -> None:
    instance = host.instance
    with pytest.raises(ConcurrencyError, match="promising"):
        instance.exports["run"](5)
    assert host.closed == 1
    can: list[bool] = []

    def through(value: int) -> int:
        can.append(instance.can_suspend)
        with pytest.raises(ConcurrencyError, match="promising"):
            instance.exports["run"](value)
        with pytest.raises(ConcurrencyError):
            next(instance.promising("run")(value))
        return instance.exports["run"](0)  # type: ignore[no-any-return]

    host.through = through
    assert result_of(instance.promising("through")(5)) == 7
    assert instance.exports["through"](5) == 7
    assert can == [True, False]
    assert not instance.can_suspend


@suspends
def test_exceptions_go_both_ways(host: Host) -> None:
    instance = host.instance
    call = instance.promising("run")(5)
    next(call)
    error = KeyError("thrown")
    with pytest.raises(KeyError) as raised:
        call.throw(error)
    assert raised.value is error
    call = instance.promising("run")(5)
    next(call)
    with pytest.raises(TypeError):
        call.send(None)  # None + 1, in the host function
    assert instance.exports["inner"](1) == 2


@suspends
def test_traps_are_the_guests(host: Host) -> None:
    call = host.instance.promising("fail")(5)
    next(call)
    with pytest.raises(TrapError) as raised:
        call.send(1)
    assert raised.value.kind is TrapKind.UNREACHABLE
    assert result_of(host.instance.promising("inner")(1)) == 2


@suspends
def test_recursion_ends_in_a_trap_on_a_stack_of_its_own(host: Host) -> None:
    call = host.instance.promising("endless")()
    next(call)
    with pytest.raises(TrapError) as raised:
        list(iter(lambda: call.send(1), None))
    assert raised.value.kind is TrapKind.STACK_OVERFLOW
    assert result_of(host.instance.promising("inner")(1)) == 2


@suspends
def test_host_functions_enter_guests_there(host: Host) -> None:
    def through(value: int) -> int:
        return host.instance.exports["through"](value + 1) if value < 50 else value

    host.through = through
    assert result_of(host.instance.promising("through")(0)) == 50


@suspends
def test_wrong_values_are_refused(host: Host) -> None:
    promising = host.instance.promising
    with pytest.raises(ArgumentError):
        next(promising("run")("x"))
    with pytest.raises(ArgumentError):
        next(promising("run")(1, 2))
    with pytest.raises(ArgumentError):
        next(promising("run")(2**32))
    with pytest.raises(ExportNotFoundError):
        promising("nobody")
    with pytest.raises(ExportNotFoundError):
        promising("memory")
    call = promising("kinds")(1, 1.0, 1.0)
    next(call)
    with pytest.raises((ArgumentError, TypeError)):
        call.send("x")
    assert result_of(promising("inner")(1)) == 2


@suspends
def test_a_call_that_is_given_up_leaves_the_instance_usable(host: Host) -> None:
    instance = host.instance
    call = instance.promising("run")(5)
    next(call)
    call.close()
    assert host.closed == 1
    assert instance.exports["inner"](1) == 2
    next(instance.promising("run")(5))  # and nobody holds it
    gc.collect()
    assert host.closed == 2
    assert result_of(instance.promising("inner")(1)) == 2
    call = instance.promising("run")(5)
    call.close()  # before it began
    assert instance.exports["inner"](1) == 2


@suspends
def test_closing_the_instance_gives_the_call_up(vm: VM, wat: Wat) -> None:
    for shared in (False, True):
        host = Host()
        store = vm.new_store() if shared and vm.capabilities.linking else None
        host.instance = wat(WAT).instantiate(host.imports(), store=store)
        call = host.instance.promising("run")(5)
        next(call)
        (store or host.instance).close()
        assert host.closed == 1
        with pytest.raises(ClosedError):
            call.send(1)
        with pytest.raises(ClosedError):
            host.instance.promising("run")


@suspends
@pytest.mark.capable(interrupt=True)
def test_a_deadline_counts_while_it_is_suspended(host: Host) -> None:
    instance = host.instance
    with instance.deadline(0.02):
        call = instance.promising("run")(5)
        next(call)
        time.sleep(0.03)
        with pytest.raises(DeadlineExceededError):
            call.send(1)
    assert instance.exports["inner"](1) == 2
    call = instance.promising("spin")(5)
    next(call)
    with instance.deadline(0.02), pytest.raises(DeadlineExceededError):
        call.send(1)
    assert result_of(instance.promising("inner")(1)) == 2


@suspends
def test_the_garbage_collector_may_find_all_of_it_at_once(wat: Wat) -> None:
    module = wat(WAT)
    for _ in range(20):
        host = Host()
        host.instance = module.instantiate(host.imports())
        call = host.instance.promising("run")(5)
        next(call)
        cycle: list[Any] = [host, host.instance, call]
        cycle.append(cycle)
        del host, call, cycle
        gc.collect()


@suspends
def test_its_memory_can_be_read_meanwhile(host: Host) -> None:
    memory = host.instance.memory
    assert memory is not None
    assert memory.read(8, 4) == bytes(4)
    call = host.instance.promising("run")(5)
    next(call)
    memory.write(8, b"kept")
    assert memory.read(8, 4) == b"kept"
    assert result_of(call, 1) == 5002


@suspends
def test_nothing_is_left_of_calls(host: Host, resident: Callable[[], int]) -> None:
    def rounds(count: int) -> None:
        for _ in range(count):
            call = host.instance.promising("run")(5)
            next(call)
            result_of(call, 1)
            next(host.instance.promising("run")(5))  # given up at once

    rounds(2000)
    before = resident()
    rounds(10_000)
    assert resident() - before < 2 * 1024 * 1024
