"""Functions that call each other, and how they are found."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from anywasm.abi.enums import LogLevel
from anywasm.abi.host import ServiceCall
from anywasm.plugins.errors import (
    FunctionBusyError,
    FunctionFailedError,
    FunctionNotFoundError,
    FunctionRecursionError,
    FunctionTimeoutError,
)
from anywasm.plugins.functions import MAX_CHAIN

MakeGuest = Callable[..., bytes]


def errors(stage: Any) -> list[str]:
    return [line for level, line in stage.lines if level is LogLevel.ERROR]


def test_a_function_answers_with_another_ones_answer(stage: Any, make_guest: MakeGuest) -> None:
    stage.add("a", make_guest("a", call="b", default="ia"))
    stage.add("b", make_guest("b", call="c", default="ai"))
    stage.add("c", make_guest("c", default="a"))
    assert stage.ask(id="a").body == b"okokok"


@pytest.mark.parametrize(
    ("default", "message"),
    [
        ("c", "gave no answer"),
        ("t", "trap"),
        ("L", "'b' answered 418"),
        ("x", "closed its stream"),
    ],
)
def test_a_function_hears_of_anothers_failure(
    stage: Any, make_guest: MakeGuest, default: str, message: str
) -> None:
    stage.add("a", make_guest("a", call="b", default="i"))
    stage.add("b", make_guest("b", default=default))
    assert stage.ask(id="a").body == b"!"
    (line,) = errors(stage)
    assert message in line


def test_a_function_that_is_not_there_is_a_failure(stage: Any, make_guest: MakeGuest) -> None:
    stage.add("a", make_guest("a", call="b", default="i"))
    assert stage.ask(id="a").body == b"!"
    assert errors(stage) == ["cannot invoke 'b': no function has the id 'b'"]
    with pytest.raises(FunctionNotFoundError) as caught:
        stage.ask(id="b")
    assert caught.value.status == 404


def test_an_explicit_nothing_is_a_good_answer(stage: Any, make_guest: MakeGuest) -> None:
    stage.add("a", make_guest("a", call="b", default="ia"))
    stage.add("b", make_guest("b", default="e"))
    assert stage.ask(id="a").body == b"ok"
    assert errors(stage) == []


def test_a_function_that_calls_itself_fails_at_once(stage: Any, make_guest: MakeGuest) -> None:
    stage.add("a", make_guest("a", call="a", default="i"), instance_num=3)
    assert stage.ask(id="a").body == b"!"
    (line,) = errors(stage)
    assert "a -> a" in line
    assert [name for name in stage.said if name == "request_headers"] == ["request_headers"]


def test_functions_that_call_each_other_in_a_circle_fail_at_once(
    stage: Any, make_guest: MakeGuest
) -> None:
    for name, other in ("ab", "bc", "ca"):
        stage.add(name, make_guest(name, call=other, default="i"))
    assert stage.ask(id="a").body == b"!"
    (line,) = errors(stage)
    assert "a -> b -> c -> a" in line


def test_a_chain_has_a_limit(wasmtime_stage: Any, make_guest: MakeGuest) -> None:
    stage = wasmtime_stage
    for number in range(MAX_CHAIN + 1):
        name = f"f{number}"
        stage.add(name, make_guest(name, call=f"f{number + 1}", default="i"))
    stage.add("end", make_guest(f"f{MAX_CHAIN + 1}"))
    assert stage.ask(id="f2").body == b"ok"
    assert stage.ask(id="f1").body == b"!"
    (line,) = errors(stage)
    assert "too deep" in line


def test_time_that_is_up_is_not_spent_on_another_function(stage: Any) -> None:
    stage.add()
    call = ServiceCall("f", "", b"", ("a",), time.monotonic() - 1)
    with pytest.raises(FunctionTimeoutError):
        stage.functions.invoke(call)
    assert stage.pool().replaced == 0
    assert stage.ask("a").body == b"ok"


#: Of whom everybody waits for: only what comes before it ends a wait in time.
FOREVER = {"call": 900.0, "request": 900.0, "lease": 900.0}


def test_the_caller_bounds_the_callee(wasmtime_stage: Any, make_guest: MakeGuest) -> None:
    stage = wasmtime_stage
    stage.add("a", make_guest("a", call="b", default="i"), timeouts={**FOREVER, "call": 0.2})
    stage.add("b", make_guest("b", default="p"), timeouts=FOREVER)
    with pytest.raises(FunctionTimeoutError):
        stage.ask(id="a")
    assert stage.pool("b").idle == 1
    assert not stage.pool("b").slots[0].streams


@pytest.mark.parametrize("limit", ["call", "request"])
def test_the_first_caller_bounds_all_of_a_chain(
    stage: Any, make_guest: MakeGuest, limit: str
) -> None:
    stage.add("a", make_guest("a", call="b", default="i"), timeouts={**FOREVER, limit: 0.3})
    stage.add("b", make_guest("b", call="c", default="i"), timeouts=FOREVER)
    stage.add("c", make_guest("c", default="b"), timeouts=FOREVER)
    with pytest.raises(FunctionTimeoutError):
        stage.ask(id="a")


def test_the_caller_bounds_the_wait_for_an_instance(
    wasmtime_stage: Any, make_guest: MakeGuest
) -> None:
    stage = wasmtime_stage
    stage.add("a", make_guest("a", call="b", default="i"), timeouts={**FOREVER, "call": 0.2})
    stage.add("b", make_guest("b"), timeouts=FOREVER)
    slot = stage.pool("b").try_acquire()
    with pytest.raises(FunctionTimeoutError):
        stage.ask(id="a")
    stage.pool("b").release(slot)


def test_the_caller_waits_no_longer_for_a_callee_whose_instance_is_busy(
    wasmtime_stage: Any, make_guest: MakeGuest, later: Any
) -> None:
    stage = wasmtime_stage
    stage.add("a", make_guest("a", call="b", default="i"), timeouts={**FOREVER, "call": 0.5})
    stage.add("b", make_guest("b", default="p"), timeouts=FOREVER)
    asked = later(stage.ask, id="a")
    pool = stage.pool("b")
    while stage.said.count("request_headers") < 2:
        time.sleep(0.01)
    busy = pool.acquire(time.monotonic() + 5)
    with pytest.raises(FunctionTimeoutError):
        asked.result(60)
    assert "delete" not in stage.said
    pool.release(busy)
    end = time.monotonic() + 20
    while pool.slots[0].streams:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert stage.said.count("delete") == 1


def test_a_call_through_the_service_says_why_it_failed(stage: Any, make_guest: MakeGuest) -> None:
    stage.add("a", make_guest("a", default="L"))
    later = time.monotonic() + 9
    with pytest.raises(FunctionFailedError, match="answered 418"):
        stage.functions.invoke(ServiceCall("a", "/m", b"", (), later))
    with pytest.raises(FunctionRecursionError):
        stage.functions.invoke(ServiceCall("a", "", b"", ("a",), later))


def test_no_free_instance_in_time_is_503(stage: Any) -> None:
    stage.add(timeouts={"lease": 0.05})
    slot = stage.pool().try_acquire()
    with pytest.raises(FunctionBusyError) as caught:
        stage.ask("a")
    assert caught.value.status == 503
    stage.pool().release(slot)
    assert stage.ask("a").body == b"ok"


# --- the router ----------------------------------------------------------------------------------


def test_plugins_of_one_id_take_turns(wasmtime_stage: Any) -> None:
    stage = wasmtime_stage
    for name in "abc":
        stage.add(name)
    assert stage.router.ids == ("f",)
    picked = Counter(stage.router.pick("f").name for _ in range(9))
    assert picked == {"a": 3, "b": 3, "c": 3}
    among = Counter(stage.router.pick("f", {"a", "c"}).name for _ in range(8))
    assert among == {"a": 4, "c": 4}
    with pytest.raises(FunctionNotFoundError):
        stage.router.pick("f", {"other"})
    stage.manager.uninstall("b")
    assert {plugin.name for plugin in stage.router.plugins("f")} == {"a", "c"}
    assert {stage.router.pick("f").name for _ in range(4)} == {"a", "c"}


def test_picking_goes_on_while_plugins_come_and_go(wasmtime_stage: Any, later: Any) -> None:
    stage = wasmtime_stage
    plugins = [stage.add(name).plugin for name in "ab"]
    stop: list[bool] = []

    def pick() -> int:
        count = 0
        while not stop:
            with suppress(FunctionNotFoundError):
                stage.router.pick("f")
            count += 1
        return count

    picking = [later(pick) for _ in range(2)]
    for _ in range(2000):
        for plugin in plugins:
            stage.router.remove(plugin.name)
        for plugin in plugins:
            stage.router.set(plugin)
    stop.append(True)
    assert all(future.result(20) for future in picking)
