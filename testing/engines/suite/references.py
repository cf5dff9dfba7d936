from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anywasm.core.engine import VM, GlobalType, Module, TableType, ValueType
from anywasm.core.errors import ArgumentError
from anywasm.core.store import Store
from anywasm.core.types import Limits

pytestmark = pytest.mark.capable(imports="table", values="funcref")

#: Takes functions as references in every way there is, and calls them with 20; `more` is the host's
#: own, exported again.
TAKER = """(module (type $f (func (param i32) (result i32)))
  (import "env" "more" (func $more (type $f)))
  (import "env" "give" (func $give (result funcref)))
  (import "env" "table" (table $table 2 funcref))
  (import "env" "kept" (global $kept (mut funcref)))
  (export "more" (func $more))
  (func $call (param funcref) (result i32)
    (table.set $table (i32.const 1) (local.get 0))
    (call_indirect $table (type $f) (i32.const 20) (i32.const 1)))
  (func (export "taken") (param funcref) (result i32) (call $call (local.get 0)))
  (func (export "given") (result i32) (call $call (call $give)))
  (func (export "first") (result i32) (call $call (table.get $table (i32.const 0))))
  (func (export "kept") (result i32) (call $call (global.get $kept))))"""


class Taker:
    """A guest that takes functions, and the host's side of each way."""

    def __init__(self, store: Store, module: Module) -> None:
        self._offered: Any = None
        self.table = store.new_table(TableType(ValueType.FUNCREF, Limits(2, 9)))
        self.kept = store.new_global(GlobalType(ValueType.FUNCREF, mutable=True), None)
        given = {
            "more": lambda number: number + 1,
            "give": lambda: self._offered,
            "table": self.table,
            "kept": self.kept,
        }
        self.exports = module.instantiate({"env": given}, store=store).exports

    def argument(self, fn: Any) -> int:
        return int(self.exports["taken"](fn))

    def result(self, fn: Any) -> int:
        self._offered = fn
        return int(self.exports["given"]())

    def element(self, fn: Any) -> int:
        self.table.set(0, fn)
        return int(self.exports["first"]())

    def added(self, fn: Any) -> int:
        return int(self.table.get(self.table.grow(1, fn))(20))

    def variable(self, fn: Any) -> int:
        self.kept.value = fn
        return int(self.exports["kept"]())


@pytest.fixture
def taker(vm: VM, wat: Callable[[str], Module]) -> Iterator[Taker]:
    with vm.new_store() as store:
        yield Taker(store, wat(TAKER))


WAYS = (Taker.argument, Taker.result, Taker.element, Taker.added, Taker.variable)


@pytest.mark.parametrize("way", WAYS)
def test_exported_functions_are_references(taker: Taker, way: Callable[[Taker, Any], int]) -> None:
    assert way(taker, taker.exports["more"]) == 21
    assert taker.exports["more"](20) == 21


@pytest.mark.parametrize("way", WAYS)
def test_python_functions_are_none_for_want_of_a_type(
    taker: Taker, way: Callable[[Taker, Any], int]
) -> None:
    with pytest.raises(ArgumentError, match=r"no function of this store.*import and export it"):
        way(taker, lambda number: number)
    assert (taker.table.size, taker.table.get(0), taker.kept.value) == (2, None, None)
    assert way(taker, taker.exports["more"]) == 21


@pytest.mark.parametrize("way", WAYS)
def test_functions_of_another_store_are_none(
    vm: VM, wat: Callable[[str], Module], taker: Taker, way: Callable[[Taker, Any], int]
) -> None:
    with vm.new_store() as store, pytest.raises(ArgumentError, match="no function of this store"):
        way(taker, Taker(store, wat(TAKER)).exports["more"])


@pytest.mark.parametrize("value", [7, "text", b"", object()])
def test_what_is_no_function_is_refused(taker: Taker, value: object) -> None:
    for way in WAYS:
        with pytest.raises(ArgumentError, match="is no function"):
            way(taker, value)
