from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from anywasm.core.errors import ArgumentError, ExportNotFoundError, UnsupportedError
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.engines.null.library import NullGuest, export
from anywasm.testing.engines.echo import ECHO, Echo

WAT = f"""(module
{ECHO}  (memory (export "memory") 1))
"""


class Bits(Echo):
    memory_export = "memory"


@pytest.fixture
def instance(guest: Callable[[str, type[NullGuest]], Module]) -> Iterator[Instance]:
    with guest(WAT, Bits).instantiate() as instance:
        yield instance


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("i32", 0xFFFFFFFF),
        ("i32", 0x80000000),
        ("i64", 0xFFFFFFFFFFFFFFFF),
        ("f32", 0x3FC00000),
        ("f32", 0x80000000),
        ("f32", 0x7FC00123),
        ("f32", 0xFFFFFFFF),
        ("f64", 0x3FF8000000000000),
        ("f64", 0x7FF8000000000123),
        ("f64", 0xFFFFFFFFFFFFFFFF),
        ("f64", 0x7FF0000000000001),
    ],
)
def test_bits_go_through_the_guest(instance: Instance, name: str, bits: int) -> None:
    assert instance.call_bits(name, bits) == bits


def test_signalling_nan_comes_back_whole_or_not_at_all(instance: Instance) -> None:
    result: object = 0x7F800001
    with contextlib.suppress(UnsupportedError):
        result = instance.call_bits("f32", 0x7F800001)
    assert result == 0x7F800001


def test_no_result_is_none(instance: Instance) -> None:
    assert instance.call_bits("nothing") is None


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("i32", (-1,)),
        ("i32", (2**32,)),
        ("f32", (2**32,)),
        ("f64", (2**64,)),
        ("f64", (-1,)),
        ("f64", (1.5,)),
        ("i32", ("1",)),
        ("i32", ()),
        ("i32", (1, 2)),
    ],
)
def test_wrong_bits_are_refused(instance: Instance, name: str, args: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=name):
        instance.call_bits(name, *args)
    assert instance.call_bits(name, 1) == 1


@pytest.mark.parametrize("name", ["memory", "absent"])
def test_only_functions_can_be_called(instance: Instance, name: str) -> None:
    with pytest.raises(ExportNotFoundError, match=name):
        instance.call_bits(name)


MULTI = '(module (func (export "two") (param f64 i32) (result i32 f64) local.get 1 local.get 0))'


class Two(NullGuest):
    memory_export = None

    @export("f64 i32 -> i32 f64")
    def two(self, a: float, b: int) -> tuple[int, float]:
        return b, a


@pytest.mark.capable(feature="multi-value")
def test_several_results_are_a_tuple(guest: Callable[[str, type[NullGuest]], Module]) -> None:
    with guest(MULTI, Two).instantiate() as instance:
        assert instance.call_bits("two", 0x7FF8000000000123, 7) == (7, 0x7FF8000000000123)
