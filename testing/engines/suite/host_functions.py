from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from anywasm.core.errors import ArgumentError, TrapError, TrapKind, UnsupportedError
from anywasm.core.module import Module
from anywasm.engines.null.library import NullGuest, export

Guest = Callable[[str, type[NullGuest]], Module]

WAT = """(module
  (import "env" "i32" (func $i32 (param i32) (result i32)))
  (import "env" "i64" (func $i64 (param i64) (result i64)))
  (import "env" "f32" (func $f32 (param f32) (result f32)))
  (import "env" "f64" (func $f64 (param f64) (result f64)))
  (import "env" "note" (func $note (param i32 i64 f32 f64)))
  (func (export "i32") (param i32) (result i32) local.get 0 call $i32)
  (func (export "i64") (param i64) (result i64) local.get 0 call $i64)
  (func (export "f32") (param f32) (result f32) local.get 0 call $f32)
  (func (export "f64") (param f64) (result f64) local.get 0 call $f64)
  (func (export "note") i32.const -1 i64.const -1 f32.const 0.1 f64.const 0.1 call $note)
  (func (export "three") (result i32) i32.const 3))
"""


class Host(NullGuest):
    imports: ClassVar = {
        "env": {
            "i32": "i32 -> i32",
            "i64": "i64 -> i64",
            "f32": "f32 -> f32",
            "f64": "f64 -> f64",
            "note": "i32 i64 f32 f64 ->",
        }
    }
    memory_export = None

    @export("i32 -> i32")
    def i32(self, value: int) -> Any:
        return self.host["env"]["i32"](value)

    @export("i64 -> i64")
    def i64(self, value: int) -> Any:
        return self.host["env"]["i64"](value)

    @export("f32 -> f32")
    def f32(self, value: float) -> Any:
        return self.host["env"]["f32"](value)

    @export("f64 -> f64")
    def f64(self, value: float) -> Any:
        return self.host["env"]["f64"](value)

    @export("->")
    def note(self) -> None:
        self.host["env"]["note"](-1, -1, 0.1, 0.1)

    @export("-> i32")
    def three(self) -> int:
        return 3


def host(**functions: Callable[..., Any]) -> dict[str, dict[str, Callable[..., Any]]]:
    """An importObject for the guest; what is not given returns its argument."""
    given: dict[str, Callable[..., Any]] = dict.fromkeys(
        ("i32", "i64", "f32", "f64"), lambda value: value
    )
    return {"env": given | {"note": lambda *args: None} | functions}


@pytest.mark.parametrize(
    ("name", "given", "result"),
    [
        ("i32", -1, 2**32 - 1),
        ("i32", 2**31, 2**31),
        ("i32", 5, 5),
        ("i64", -1, 2**64 - 1),
        ("i64", 2**63, 2**63),
        ("f32", 0.1, 0.10000000149011612),
        ("f64", 0.1, 0.1),
        ("f64", -math.inf, -math.inf),
    ],
)
def test_value_reaches_the_host_unsigned_and_comes_back(
    guest: Guest, name: str, given: float, result: float
) -> None:
    seen: list[float] = []

    def fn(value: float) -> float:
        seen.append(value)
        return value

    with guest(WAT, Host).instantiate(host(**{name: fn})) as instance:
        assert instance.exports[name](given) == result
    assert seen == [result]
    assert type(seen[0]) is type(result)


@pytest.mark.parametrize(
    ("name", "returned", "result"),
    [
        ("i32", -1, 2**32 - 1),
        ("i32", 2**32 - 1, 2**32 - 1),
        ("i32", -(2**31), 2**31),
        ("i32", True, 1),
        ("i64", -1, 2**64 - 1),
        ("i64", 2**64 - 1, 2**64 - 1),
        ("f32", 3, 3.0),
        ("f64", 3, 3.0),
    ],
)
def test_host_results_follow_the_rules_for_arguments(
    guest: Guest, name: str, returned: float, result: float
) -> None:
    with guest(WAT, Host).instantiate(host(**{name: lambda value: returned})) as instance:
        assert instance.exports[name](0) == result


@pytest.mark.parametrize(
    ("name", "returned"),
    [
        ("i32", None),
        ("i32", 1.0),
        ("i32", "1"),
        ("i32", 2**32),
        ("i32", -(2**31) - 1),
        ("i32", (1,)),
        ("i32", (1, 2)),
        ("i64", 2**64),
        ("i64", None),
        ("f32", "1"),
        ("f64", None),
        ("f64", 10**400),
    ],
)
def test_wrong_host_result_is_an_argument_error(guest: Guest, name: str, returned: object) -> None:
    with guest(WAT, Host).instantiate(host(**{name: lambda value: returned})) as instance:
        with pytest.raises(ArgumentError, match=f"host function env.{name}"):
            instance.exports[name](0)
        assert instance.exports["three"]() == 3


def test_host_function_without_results_must_return_none(guest: Guest) -> None:
    with guest(WAT, Host).instantiate(host(note=lambda *args: 0)) as instance:
        with pytest.raises(ArgumentError, match="has no results but returned 0"):
            instance.exports["note"]()
        assert instance.exports["three"]() == 3


def test_host_arguments_keep_their_places(guest: Guest) -> None:
    seen: list[tuple[float, ...]] = []
    imports = host(note=lambda *args: seen.append(args))
    with guest(WAT, Host).instantiate(imports) as instance:
        assert instance.exports["note"]() is None
    assert seen == [(2**32 - 1, 2**64 - 1, 0.10000000149011612, 0.1)]


def test_host_function_that_takes_too_few_arguments_fails_as_itself(guest: Guest) -> None:
    with guest(WAT, Host).instantiate(host(i32=lambda: 1)) as instance:
        with pytest.raises(TypeError, match="positional argument"):
            instance.exports["i32"](0)
        assert instance.exports["three"]() == 3


class HostError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        HostError("own"),
        ValueError("builtin"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        TrapError(TrapKind.UNREACHABLE),
        RuntimeError("unreachable"),
        StopIteration(1),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exception_of_a_host_function_comes_out_as_itself(
    guest: Guest, error: BaseException
) -> None:
    def fail(value: int) -> int:
        raise error

    with guest(WAT, Host).instantiate(host(i32=fail)) as instance:
        for _ in range(2):
            with pytest.raises(type(error)) as caught:
                instance.exports["i32"](0)
            assert caught.value is error
        assert error.__cause__ is None
        assert instance.exports["three"]() == 3
        assert instance.exports["i64"](7) == 7


def test_traceback_shows_where_the_host_function_failed(guest: Guest) -> None:
    def fail(value: int) -> int:
        raise HostError

    module = guest(WAT, Host)
    with module.instantiate(host(i32=fail)) as instance, pytest.raises(HostError) as caught:
        instance.exports["i32"](0)
    assert caught.traceback[-1].name == "fail"


@pytest.mark.capable(reentrant=True)
@pytest.mark.parametrize("depth", [1, 2, 20])
def test_exception_passes_through_nested_calls(guest: Guest, depth: int) -> None:
    error = HostError("deep")
    levels: list[int] = []

    def down(level: int) -> int:
        levels.append(level)
        if level == 0:
            raise error
        return instance.exports["i32"](level - 1)  # type: ignore[no-any-return]

    with guest(WAT, Host).instantiate(host(i32=down)) as instance:
        with pytest.raises(HostError) as caught:
            instance.exports["i32"](depth)
        assert caught.value is error
        assert instance.exports["three"]() == 3
    assert levels == list(range(depth, -1, -1))


@pytest.mark.capable(reentrant=True)
def test_host_function_may_catch_what_a_nested_call_raised(guest: Guest) -> None:
    def outer(value: int) -> int:
        with pytest.raises(HostError, match="inner"):
            instance.exports["i64"](1)
        return value + 1

    def inner(value: int) -> int:
        raise HostError("inner")

    with guest(WAT, Host).instantiate(host(i32=outer, i64=inner)) as instance:
        assert instance.exports["i32"](1) == 2


@pytest.mark.capable(reentrant=True)
def test_outer_exception_wins_over_a_caught_nested_one(guest: Guest) -> None:
    second = HostError("second")

    def outer(value: int) -> int:
        with pytest.raises(HostError, match="first"):
            instance.exports["i64"](1)
        raise second

    def inner(value: int) -> int:
        raise HostError("first")

    with guest(WAT, Host).instantiate(host(i32=outer, i64=inner)) as instance:
        with pytest.raises(HostError) as caught:
            instance.exports["i32"](1)
        assert caught.value is second


@pytest.mark.capable(reentrant=False)
def test_nested_call_that_is_not_claimed_is_refused(guest: Guest) -> None:
    def host_function(value: int) -> Any:
        return instance.exports["three"]()

    with guest(WAT, Host).instantiate(host(i32=host_function)) as instance:
        with pytest.raises(UnsupportedError):
            instance.exports["i32"](0)
        assert instance.exports["three"]() == 3


def test_guest_calls_the_host_of_another_instance(guest: Guest) -> None:
    module = guest(WAT, Host)
    error = HostError("far away")

    def fail(value: int) -> int:
        raise error

    with (
        module.instantiate(host(i32=fail)) as far,
        module.instantiate(host(i32=far.exports["i32"], i64=far.exports["i64"])) as near,
    ):
        assert near.exports["i64"](-1) == 2**64 - 1
        with pytest.raises(HostError) as caught:
            near.exports["i32"](1)
        assert caught.value is error
        assert far.exports["three"]() == near.exports["three"]() == 3
