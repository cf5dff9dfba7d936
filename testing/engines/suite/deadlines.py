from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anywasm.core.errors import ArgumentError, DeadlineExceededError, UnsupportedError
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.engines.null.library import NullGuest

claimed = pytest.mark.capable(interrupt=True)

WAT = """(module
  (import "env" "host" (func $host))
  (memory (export "memory") 1)
  (func (export "spin") (loop $again br $again))
  (func (export "seven") (result i32) i32.const 7)
  (func (export "ask") (result i32)
    call $host i32.const 0 i32.const 1 i32.store i32.const 7)
  (func (export "ask_all") (loop $again call $host br $again)))
"""


class Anything(NullGuest):
    pass


@pytest.fixture
def host() -> list[Callable[[], Any]]:
    """What the host function does: the last item."""
    return [lambda: None]


@pytest.fixture
def instance(wat: Callable[[str], Module], host: list[Callable[[], Any]]) -> Iterator[Instance]:
    def call() -> None:
        host[-1]()

    with wat(WAT).instantiate({"env": {"host": call}}) as instance:
        yield instance


@claimed
def test_endless_loop_is_stopped_and_the_instance_lives(instance: Instance) -> None:
    for _ in range(3):
        with pytest.raises(DeadlineExceededError), instance.deadline(0.03):
            instance.exports["spin"]()
        assert instance.exports["seven"]() == 7
        with instance.deadline(60):
            assert instance.exports["seven"]() == 7


@claimed
def test_a_deadline_set_by_the_clock_is_one_too(instance: Instance) -> None:
    outer = instance.set_deadline(time.monotonic() + 0.03)
    assert outer is None
    try:
        inner = instance.set_deadline(time.monotonic() + 60)
        with pytest.raises(DeadlineExceededError):  # the earlier end counts
            instance.exports["spin"]()
        instance.restore_deadline(inner)
        with pytest.raises(DeadlineExceededError):
            instance.exports["seven"]()
    finally:
        instance.restore_deadline(outer)
    assert instance.exports["seven"]() == 7


@claimed
def test_raw_bits_are_bounded_too(instance: Instance) -> None:
    with pytest.raises(TimeoutError), instance.deadline(0.03):
        instance.call_bits("spin")


@claimed
def test_deadline_in_time_changes_nothing(instance: Instance) -> None:
    with instance.deadline(60):
        assert instance.exports["ask"]() == 7
    assert instance.memory is not None
    assert instance.memory.read_u32(0) == 1


@claimed
def test_nothing_is_left_behind(instance: Instance) -> None:
    with instance.deadline(0.01):
        pass
    time.sleep(0.03)
    assert instance.exports["seven"]() == 7
    with pytest.raises(DeadlineExceededError), instance.deadline(0):
        instance.exports["seven"]()
    assert instance.exports["ask"]() == 7


@claimed
@pytest.mark.parametrize(("outer", "inner"), [(60, 0.03), (0.03, 60), (0.03, 0.03)])
def test_nested_deadlines_take_the_earlier(instance: Instance, outer: float, inner: float) -> None:
    with (
        pytest.raises(DeadlineExceededError),
        instance.deadline(outer),
        instance.deadline(inner),
    ):
        instance.exports["spin"]()
    assert instance.exports["seven"]() == 7


@claimed
def test_outer_deadline_holds_after_the_inner_one(instance: Instance) -> None:
    with instance.deadline(0.1):
        with pytest.raises(DeadlineExceededError), instance.deadline(0.01):
            instance.exports["spin"]()
        assert instance.exports["seven"]() == 7
        with pytest.raises(DeadlineExceededError):
            instance.exports["spin"]()


@claimed
def test_expired_deadline_refuses_entry(instance: Instance, host: list[Callable[[], Any]]) -> None:
    calls: list[int] = []
    host.append(lambda: calls.append(1))
    with instance.deadline(0.01):
        time.sleep(0.03)
        for _ in range(2):
            with pytest.raises(DeadlineExceededError):
                instance.exports["ask"]()
            with pytest.raises(DeadlineExceededError):
                instance.call_bits("ask")
    assert not calls


@claimed
def test_time_in_the_host_counts(instance: Instance, host: list[Callable[[], Any]]) -> None:
    host.append(lambda: time.sleep(0.05))
    with pytest.raises(DeadlineExceededError), instance.deadline(0.02):
        instance.exports["ask"]()
    assert instance.memory is not None
    assert instance.memory.read_u32(0) == 0
    assert instance.exports["ask"]() == 7


@claimed
def test_loop_of_host_calls_is_stopped(instance: Instance) -> None:
    with pytest.raises(DeadlineExceededError), instance.deadline(0.03):
        instance.exports["ask_all"]()
    assert instance.exports["seven"]() == 7


@claimed
def test_nested_call_is_bounded_by_the_outer_deadline(
    instance: Instance, host: list[Callable[[], Any]]
) -> None:
    seen: list[BaseException] = []

    def spin() -> None:
        try:
            instance.exports["spin"]()
        except DeadlineExceededError as error:
            seen.append(error)
            raise

    host.append(spin)
    with pytest.raises(DeadlineExceededError) as caught, instance.deadline(0.03):
        instance.exports["ask"]()
    assert caught.value is seen[0]
    host.pop()
    assert instance.exports["ask"]() == 7


@claimed
def test_deadline_inside_a_host_function_ends_with_it(
    instance: Instance, host: list[Callable[[], Any]]
) -> None:
    def bounded() -> None:
        with pytest.raises(DeadlineExceededError), instance.deadline(0.02):
            instance.exports["spin"]()

    host.append(bounded)
    assert instance.exports["ask"]() == 7
    with instance.deadline(60):
        assert instance.exports["ask"]() == 7


@claimed
def test_exception_of_the_host_wins_over_the_deadline(
    instance: Instance, host: list[Callable[[], Any]]
) -> None:
    def fail() -> None:
        time.sleep(0.03)
        raise ValueError("mine")

    host.append(fail)
    with pytest.raises(ValueError, match="mine"), instance.deadline(0.01):
        instance.exports["ask"]()


@claimed
def test_instances_have_deadlines_of_their_own(wat: Callable[[str], Module]) -> None:
    module = wat(WAT)
    with module.instantiate({"env": {"host": lambda: None}}) as free:
        with (
            module.instantiate(
                {"env": {"host": lambda: [free.exports["seven"]() for _ in range(100)]}}
            ) as bounded,
            pytest.raises(Exception, match="host has no results") as caught,
            bounded.deadline(60),
        ):
            bounded.exports["ask"]()
        assert isinstance(caught.value, ArgumentError)
        with free.deadline(0.02):
            time.sleep(0.04)
            with pytest.raises(DeadlineExceededError):
                free.exports["seven"]()
        with module.instantiate({"env": {"host": lambda: None}}) as third:
            assert third.exports["seven"]() == 7


@claimed
@pytest.mark.parametrize("seconds", [-1, math.nan, "1", None])
def test_wrong_seconds(instance: Instance, seconds: float) -> None:
    with pytest.raises(ArgumentError, match="seconds"):
        instance.deadline(seconds)


@claimed
def test_endless_seconds(instance: Instance) -> None:
    for seconds in (math.inf, 1e300, 10**6):
        with instance.deadline(seconds):
            assert instance.exports["seven"]() == 7


@pytest.mark.capable(interrupt=False)
def test_where_it_is_not_claimed(guest: Callable[[str, type[NullGuest]], Module]) -> None:
    with (
        guest("(module)", Anything).instantiate() as instance,
        pytest.raises(UnsupportedError, match="cannot interrupt"),
    ):
        instance.deadline(1)
