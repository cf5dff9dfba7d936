from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from anywasm.core.errors import AnyWasmError, ArgumentError
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.engines.null.library import NullGuest, export
from anywasm.testing.engines.echo import ECHO, Echo

WAT = f"""(module
{ECHO}  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "below") (param i32 i32) (result i32) local.get 0 local.get 1 i32.lt_s)
  (func (export "all") (param i32 i64 f32 f64) (result f64)
    local.get 0 f64.convert_i32_s local.get 1 f64.convert_i64_s f64.add
    local.get 2 f64.promote_f32 f64.add local.get 3 f64.add))
"""


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


class Numbers(Echo):
    @export("i32 i32 -> i32")
    def add(self, left: int, right: int) -> int:
        return left + right

    @export("i32 i32 -> i32")
    def below(self, left: int, right: int) -> int:
        return int(_signed(left, 32) < _signed(right, 32))

    @export("i32 i64 f32 f64 -> f64")
    def all(self, a: int, b: int, c: float, d: float) -> float:
        return _signed(a, 32) + _signed(b, 64) + c + d


@pytest.fixture
def exports(guest: Callable[[str, type[NullGuest]], Module]) -> Any:
    with guest(WAT, Numbers).instantiate() as instance:
        yield instance.exports


@pytest.fixture
def instance(guest: Callable[[str, type[NullGuest]], Module]) -> Any:
    with guest(WAT, Numbers).instantiate() as instance:
        yield instance


@pytest.mark.parametrize(
    ("name", "given", "result"),
    [
        ("i32", 0, 0),
        ("i32", -1, 2**32 - 1),
        ("i32", -(2**31), 2**31),
        ("i32", 2**31 - 1, 2**31 - 1),
        ("i32", 2**31, 2**31),
        ("i32", 2**32 - 1, 2**32 - 1),
        ("i32", True, 1),
        ("i64", -1, 2**64 - 1),
        ("i64", -(2**63), 2**63),
        ("i64", 2**63, 2**63),
        ("i64", 2**64 - 1, 2**64 - 1),
        ("f32", 1.5, 1.5),
        ("f32", 7, 7.0),
        ("f32", 0.1, 0.10000000149011612),
        ("f32", math.inf, math.inf),
        ("f32", -(2.0**-149), -(2.0**-149)),
        ("f64", 0.1, 0.1),
        ("f64", -7, -7.0),
        ("f64", -math.inf, -math.inf),
        ("f64", 5e-324, 5e-324),
    ],
)
def test_value_goes_through_the_guest(exports: Any, name: str, given: float, result: float) -> None:
    got = exports[name](given)
    assert got == result
    assert type(got) is type(result)


@pytest.mark.parametrize("name", ["f32", "f64"])
def test_signed_zero_and_nan_survive(exports: Any, name: str) -> None:
    assert math.copysign(1, exports[name](-0.0)) == -1
    assert math.isnan(exports[name](math.nan))


def test_float_too_large_for_f32_becomes_infinite(exports: Any) -> None:
    assert exports["f32"](1e300) == math.inf


def test_no_result_is_none(exports: Any) -> None:
    assert exports["nothing"]() is None


def test_guest_sees_signed_and_unsigned_alike(exports: Any) -> None:
    assert exports["below"](-1, 0) == 1
    assert exports["below"](2**32 - 1, 0) == 1
    assert exports["add"](2**32 - 1, 2) == 1


def test_mixed_parameters_keep_their_places(exports: Any) -> None:
    assert exports["all"](-1, -(2**40), 0.5, 0.25) == -1 - 2**40 + 0.75


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("i32", (2**32,)),
        ("i32", (-(2**31) - 1,)),
        ("i32", (2**100,)),
        ("i64", (2**64,)),
        ("i64", (-(2**63) - 1,)),
        ("i32", (1.0,)),
        ("i32", ("1",)),
        ("i32", (None,)),
        ("i32", (b"1",)),
        ("i64", (1.5,)),
        ("f32", ("1",)),
        ("f32", (None,)),
        ("f64", ("nan",)),
        ("f64", ([1.0],)),
        ("f64", (10**400,)),
        ("f32", (10**400,)),
        ("i32", ()),
        ("i32", (1, 2)),
        ("nothing", (1,)),
        ("add", (1,)),
        ("all", (1, 2, 3)),
    ],
)
def test_wrong_argument_is_refused_before_the_guest_runs(
    exports: Any, name: str, args: tuple[object, ...]
) -> None:
    with pytest.raises(ArgumentError) as caught:
        exports[name](*args)
    assert name in str(caught.value)
    assert isinstance(caught.value, AnyWasmError)
    assert exports["add"](2, 3) == 5


def test_message_says_what_is_wrong(exports: Any) -> None:
    with pytest.raises(ArgumentError, match=r"add takes 2 arguments \(i32 i32\), not 1"):
        exports["add"](1)
    with pytest.raises(ArgumentError, match=r"value 1 is out of range for i32: 4294967296"):
        exports["add"](0, 2**32)
    with pytest.raises(ArgumentError, match=r"value 0 must be an int for i32, not 1\.0"):
        exports["add"](1.0, 0)


def test_keywords_are_refused(exports: Any) -> None:
    with pytest.raises(TypeError):
        exports["i32"](value=1)


def test_exports_are_bound_once_and_listed(instance: Instance) -> None:
    names = ["i32", "i64", "f32", "f64", "nothing", "add", "below", "all"]
    assert list(instance.exports) == names
    assert len(instance.exports) == len(names)
    assert "add" in instance.exports
    assert "sub" not in instance.exports
    assert instance.exports["add"] is instance.exports["add"]


def test_unknown_export_names_the_known_ones(instance: Instance) -> None:
    with pytest.raises(KeyError, match=r"no export named 'sub'; exports: i32, i64"):
        instance.exports["sub"]
    assert instance.exports.get("sub") is None


MULTI = """(module
  (import "env" "swap" (func $swap (param i32 i64) (result i64 i32)))
  (func (export "swap") (param i32 i64) (result i64 i32) local.get 1 local.get 0)
  (func (export "ask") (param i32 i64) (result i64 i32) local.get 0 local.get 1 call $swap)
  (func (export "mixed") (param f32) (result f32 f64 i32)
    local.get 0 local.get 0 f64.promote_f32 i32.const -1))
"""


class Multi(NullGuest):
    imports: ClassVar = {"env": {"swap": "i32 i64 -> i64 i32"}}
    memory_export = None

    @export("i32 i64 -> i64 i32")
    def swap(self, a: int, b: int) -> tuple[int, int]:
        return b, a

    @export("i32 i64 -> i64 i32")
    def ask(self, a: int, b: int) -> Any:
        return self.host["env"]["swap"](a, b)

    @export("f32 -> f32 f64 i32")
    def mixed(self, a: float) -> tuple[float, float, int]:
        return a, a, -1


@pytest.mark.capable(feature="multi-value")
def test_several_results_are_a_tuple(guest: Callable[[str, type[NullGuest]], Module]) -> None:
    seen: list[tuple[int, int]] = []

    def swap(a: int, b: int) -> tuple[int, int]:
        seen.append((a, b))
        return b, a

    with guest(MULTI, Multi).instantiate({"env": {"swap": swap}}) as instance:
        assert instance.exports["swap"](-1, 2) == (2, 2**32 - 1)
        assert instance.exports["mixed"](1.5) == (1.5, 1.5, 2**32 - 1)
        assert instance.exports["ask"](-1, -2) == (2**64 - 2, 2**32 - 1)
    assert seen == [(2**32 - 1, 2**64 - 2)]


@pytest.mark.capable(feature="multi-value")
@pytest.mark.parametrize("result", [None, 1, (1,), (1, 2, 3), ("1", 2), (2**64, 1), (1, 1.5)])
def test_wrong_number_or_kind_of_host_results(
    guest: Callable[[str, type[NullGuest]], Module], result: object
) -> None:
    with guest(MULTI, Multi).instantiate({"env": {"swap": lambda a, b: result}}) as instance:
        with pytest.raises(ArgumentError, match="swap"):
            instance.exports["ask"](1, 2)
        assert instance.exports["swap"](1, 2) == (2, 1)
