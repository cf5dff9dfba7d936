"""What wasm3 does not read, or misreads, in a valid binary."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anywasm.core.errors import (
    CompileError,
    InstantiationError,
    TrapError,
    TrapKind,
    UnsupportedError,
)
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.module import Module
from anywasm.core.types import ExternKind

CALL = """(type $t (func (result i32)))
  (func (export "call") (param i32) (result i32) local.get 0 call_indirect (type $t))"""


@pytest.mark.parametrize(
    ("table", "index", "kind"),
    [
        ("(table 3 funcref)", 0, TrapKind.UNINITIALIZED_ELEMENT),
        ("(table 3 funcref)", 2, TrapKind.UNINITIALIZED_ELEMENT),
        ("(table 3 funcref)", 3, TrapKind.UNDEFINED_ELEMENT),
        ("(table 0 funcref)", 0, TrapKind.UNDEFINED_ELEMENT),
        ("(table 200 funcref) (elem (i32.const 1) $seven)", 0, TrapKind.UNINITIALIZED_ELEMENT),
        ("(table 200 funcref) (elem (i32.const 1) $seven)", 199, TrapKind.UNINITIALIZED_ELEMENT),
        ("(table 200 funcref) (elem (i32.const 1) $seven)", 200, TrapKind.UNDEFINED_ELEMENT),
    ],
)
def test_the_table_is_as_long_as_declared(
    start: Callable[..., Instance], table: str, index: int, kind: TrapKind
) -> None:
    instance = start(f"{CALL} (func $seven (result i32) i32.const 7) {table} (memory 1)")
    with pytest.raises(TrapError) as caught:
        instance.exports["call"](index)
    assert caught.value.kind is kind


def test_elements_are_where_they_belong(start: Callable[..., Instance]) -> None:
    instance = start(
        f"""{CALL} (func $six (result i32) i32.const 6) (func $seven (result i32) i32.const 7)
        (table 300 funcref) (elem (i32.const 299) $seven) (elem (i32.const 5) $six $seven)"""
    )
    assert [instance.exports["call"](index) for index in (299, 5, 6)] == [7, 6, 7]


@pytest.mark.parametrize("offset", [2, 3, 1000, -1])
def test_elements_outside_the_table_are_refused(
    compiled: Callable[[str], Module], offset: int
) -> None:
    module = compiled(f"(func $f) (table 3 funcref) (elem (i32.const {offset}) $f $f)")
    with pytest.raises(InstantiationError, match="out of bounds"):
        module.instantiate()


@pytest.mark.parametrize(
    "fields",
    [
        '(memory 1) (data "passive")',
        "(table 1 funcref) (func $f) (elem func $f)",
        "(func $f) (elem declare func $f)",
        '(global i32 (i32.const 1)) (memory 1) (data (i32.add (i32.const 1) (i32.const 2)) "x")',
        "(global i32 (i32.add (i32.const 1) (i32.const 2)))",
    ],
)
def test_segments_that_wasm3_would_misread_are_refused(
    compiled: Callable[[str], Module], fields: str
) -> None:
    with pytest.raises(CompileError):
        compiled(fields)


def test_a_module_that_imports_more_than_functions_compiles_but_has_no_instances(
    compiled: Callable[[str], Module],
) -> None:
    module = compiled('(import "a" "t" (table 1 funcref)) (import "a" "m" (memory 1)) (func)')
    assert [item.kind for item in module.imports] == [ExternKind.TABLE, ExternKind.MEMORY]
    with pytest.raises(UnsupportedError):
        module.instantiate({"a": {}})


def test_compiling_takes_none_of_the_memory_that_a_module_declares(
    compiled: Callable[[str], Module],
) -> None:
    module = compiled('(memory 60000) (data (i32.const 0x7fffffff) "far")')
    with pytest.raises(InstantiationError):
        module.instantiate(limits=ResourceLimits(memory_bytes=1 << 20))
    with pytest.raises(InstantiationError):
        # More than wasm3 can have.
        module.instantiate()


def test_a_memory_that_may_not_grow_does_not(start: Callable[..., Instance]) -> None:
    instance = start(
        """(memory 0 0) (func (export "grow") (param i32) (result i32)
          local.get 0 memory.grow)"""
    )
    assert instance.exports["grow"](1) == 0xFFFFFFFF
    assert instance.exports["grow"](0) == 0


def test_a_limit_of_the_table_is_kept(compiled: Callable[[str], Module]) -> None:
    module = compiled("(table 10 funcref)")
    module.instantiate(limits=ResourceLimits(table_elements=10)).close()
    with pytest.raises(InstantiationError, match="limit"):
        module.instantiate(limits=ResourceLimits(table_elements=9))


def test_growth_that_wraps_around_leaves_the_memory_in_bounds(
    start: Callable[..., Instance],
) -> None:
    instance = start(
        """(memory (export "memory") 2)
        (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
        (func (export "load") (param i32) (result i32) local.get 0 i32.load)"""
    )
    memory = instance.memory
    assert memory is not None
    memory.write(65536, b"second page")
    instance.exports["grow"](-1)
    # wasm3 forgets the carry and shrinks the memory: wrong, but nothing is out of bounds.
    assert memory.size in (65536, 2 * 65536)
    with pytest.raises(TrapError):
        instance.exports["load"](memory.size)
    assert len(memory.read(0, memory.size)) == memory.size
