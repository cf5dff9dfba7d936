"""wasm3 finds things by C strings; the engine finds them by index."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anywasm.core.errors import UnsupportedError
from anywasm.core.instance import Instance

Start = Callable[..., Instance]


def test_a_function_may_have_any_number_of_names(start: Start) -> None:
    names = [f"n{i}" for i in range(8)]
    exports = " ".join(f'(export "{name}")' for name in names)
    instance = start(f"(func {exports} (result i32) i32.const 7)")
    assert [instance.exports[name]() for name in names] == [7] * 8


def test_a_debug_name_does_not_hide_an_export(start: Start) -> None:
    instance = start(
        """(func $run (param i32) (result i32) i32.const 1)
        (func $other (export "run") (result i32) i32.const 2)"""
    )
    assert instance.exports["run"]() == 2


def test_names_go_on_after_a_zero_byte(start: Start) -> None:
    instance = start(
        r"""(import "m\00a" "f\00a" (func $a (result i32)))
        (import "m\00a" "f\00b" (func $b (result i32)))
        (func (export "x\00a") (result i32) call $a) (func (export "x\00b") (result i32) call $b)
        (global (export "g\00") i32 (i32.const 1))""",
        {"m\0a": {"f\0a": lambda: 1, "f\0b": lambda: 2}},
    )
    assert [instance.exports["x\0a"](), instance.exports["x\0b"]()] == [1, 2]
    with pytest.raises(UnsupportedError):
        instance.exports["g\0"]


def test_a_module_named_star_matches_nothing_else(start: Start) -> None:
    instance = start(
        """(import "a" "f" (func $a (result i32))) (import "*" "f" (func $star (result i32)))
        (func (export "a") (result i32) call $a) (func (export "star") (result i32) call $star)""",
        {"a": {"f": lambda: 1}, "*": {"f": lambda: 2}},
    )
    assert [instance.exports["a"](), instance.exports["star"]()] == [1, 2]


def test_the_same_import_may_have_two_types(start: Start) -> None:
    def echo(*args: Any) -> Any:
        return args[0] if args else None

    instance = start(
        """(import "a" "f" (func $nothing)) (import "a" "f" (func $same (param i64) (result i64)))
        (func (export "run") (param i64) (result i64) call $nothing local.get 0 call $same)""",
        {"a": {"f": echo}},
    )
    assert instance.exports["run"](-1) == 0xFFFFFFFFFFFFFFFF


def test_an_import_may_be_exported(start: Start) -> None:
    def swap(first: int, second: float) -> tuple[float, int]:
        return second, first

    instance = start(
        '(import "a" "f" (func $f (param i64 f32) (result f32 i64))) (export "again" (func $f))',
        {"a": {"f": swap}},
    )
    assert instance.exports["again"](-2, 1.5) == (1.5, 2**64 - 2)


def test_a_global_may_have_many_names_and_keeps_its_own(start: Start) -> None:
    instance = start(
        """(global $a (export "one") (export "two") (mut i32) (i32.const 1))
        (global $b (export "three") (mut i32) (i32.const 3))"""
    )
    instance.exports["one"].value = 9
    assert [instance.exports[name].value for name in ("one", "two", "three")] == [9, 9, 3]


def test_exports_of_other_kinds_do_not_confuse_globals(start: Start) -> None:
    instance = start(
        """(global (mut i32) (i32.const 1)) (global (export "g") (mut f64) (f64.const 2.5))
        (func (export "f") (result i32) i32.const 3) (memory (export "m") 1)"""
    )
    assert instance.exports["g"].value == 2.5
