"""Calls that take no lock are found on the stack by whoever closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from anywasm.core.errors import ArgumentError, ClosedError, ConcurrencyError
from anywasm.core.gate import CallGate, Deadline
from anywasm.core.marshal import checked_export
from anywasm.core.stack_lock import StackLock
from anywasm.core.types import FuncType, ValueType

ONE = FuncType((ValueType.I32,), (ValueType.I32,))


def fail(error: BaseException) -> NoReturn:
    raise error


def exported(function: Callable[..., Any]) -> tuple[CallGate, Callable[..., Any]]:
    gate = CallGate("it", thread_bound=True, lock=StackLock())
    call, _ = checked_export("f", ONE, gate, function, fail)
    return gate, call


def test_what_a_call_is_running_in_cannot_be_closed() -> None:
    refused: list[str] = []

    def close_all(value: int) -> int:
        others.append(other.close())  # nothing runs in there
        with pytest.raises(ConcurrencyError) as caught:
            gate.close()
        refused.append(str(caught.value))
        return call(value - 1) if value else -1

    gate, call = exported(close_all)
    other, _ = exported(abs)
    others: list[bool] = []
    assert call(1) == 0xFFFFFFFF
    assert others == [True, False]
    assert refused == ["it cannot be closed while a call is running in it"] * 2
    assert gate.close()
    with pytest.raises(ClosedError):
        call(1)


def test_a_call_that_failed_runs_no_more() -> None:
    def give_up(value: int) -> int:
        raise KeyError(value)

    gate, call = exported(give_up)
    with pytest.raises(KeyError) as caught:
        call(1)
    # Its frame lives on in the traceback, which is no stack.
    assert caught.traceback
    assert gate.close()


def test_what_holds_the_lock_is_running_too() -> None:
    gate, _ = exported(abs)
    assert gate.acquire(False)
    with pytest.raises(ConcurrencyError):
        gate.close()
    gate.release()
    assert gate.close()


def test_arguments_deadlines_and_forks_are_seen_without_a_lock() -> None:
    gate, call = exported(abs)
    assert call(-5) == 5
    for wrong in ((), (1, 2), ("x",)):
        with pytest.raises(ArgumentError):
            call(*wrong)
    with Deadline(gate, 0), pytest.raises(TimeoutError):
        call(1)
    assert call(7) == 7
    gate.abandon()
    with pytest.raises(ClosedError):
        call(1)


def test_letting_go_of_one_may_close_another() -> None:
    closed: list[bool] = []

    class Native:
        def __call__(self, value: int) -> int:
            return value

        def __del__(self) -> None:
            closed.append(other.close())

    other, _ = exported(abs)
    gate = CallGate("it", thread_bound=True, lock=StackLock())
    _, let_go = checked_export("f", ONE, gate, Native(), fail)
    assert gate.close()
    let_go()
    assert closed == [True]
