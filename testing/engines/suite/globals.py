from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from anywasm.core.errors import ArgumentError
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.core.types import GlobalType, ValueType
from anywasm.engines.null.library import NullGuest, export

WAT = """(module
  (global (export "fixed") i32 (i32.const -1))
  (global $count (export "count") (mut i32) (i32.const 5))
  (global (export "wide") (mut i64) (i64.const -1))
  (global (export "single") (mut f32) (f32.const 0.1))
  (global (export "double") (mut f64) (f64.const 0.1))
  (func (export "next") (result i32)
    global.get $count i32.const 1 i32.add global.set $count global.get $count))
"""


class Globals(NullGuest):
    memory_export = None
    globals: ClassVar = {
        "fixed": "i32",
        "count": "mut i32",
        "wide": "mut i64",
        "single": "mut f32",
        "double": "mut f64",
    }
    fixed, count, wide, single, double = -1, 5, -1, 0.1, 0.1

    @export("-> i32")
    def next(self) -> int:
        self.count += 1
        return self.count


@pytest.fixture
def instance(guest: Callable[[str, type[NullGuest]], Module]) -> Iterator[Instance]:
    with guest(WAT, Globals).instantiate() as instance:
        yield instance


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fixed", 2**32 - 1),
        ("count", 5),
        ("wide", 2**64 - 1),
        ("single", 0.10000000149011612),
        ("double", 0.1),
    ],
)
def test_value_comes_unsigned(instance: Instance, name: str, value: float) -> None:
    assert instance.exports[name].value == value


def test_types(instance: Instance) -> None:
    assert instance.exports["fixed"].type == GlobalType(ValueType.I32, mutable=False)
    assert instance.exports["wide"].type == GlobalType(ValueType.I64, mutable=True)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("count", -1, 2**32 - 1),
        ("count", 2**32 - 1, 2**32 - 1),
        ("wide", 2**64 - 1, 2**64 - 1),
        ("wide", -(2**63), 2**63),
        ("single", 0.2, 0.20000000298023224),
        ("double", 3, 3.0),
        ("double", -math.inf, -math.inf),
    ],
)
def test_set(instance: Instance, name: str, given: float, value: float) -> None:
    instance.exports[name].value = given
    assert instance.exports[name].value == value


def test_guest_and_host_share_the_variable(instance: Instance) -> None:
    count = instance.exports["count"]
    count.value = 41
    assert instance.exports["next"]() == 42
    assert count.value == 42


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("fixed", 1),
        ("count", 2**32),
        ("count", 1.0),
        ("count", "1"),
        ("count", None),
        ("wide", 2**64),
        ("single", "1"),
        ("double", None),
    ],
)
def test_wrong_value_is_refused(instance: Instance, name: str, given: object) -> None:
    variable = instance.exports[name]
    before = variable.value
    with pytest.raises(ArgumentError, match=name):
        variable.value = given
    assert variable.value == before
