from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anywasm.core.errors import TrapError, TrapKind
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.engines.null.library import NullGuest, export

WAT = """(module
  (memory (export "memory") 1)
  (table 3 funcref)
  (elem (i32.const 0) $seven)
  (type $number (func (result i32)))
  (type $nothing (func))
  (func $seven (export "seven") (result i32) i32.const 7)
  (func (export "count") (result i32)
    i32.const 0 i32.const 0 i32.load i32.const 1 i32.add i32.store i32.const 0 i32.load)
  (func (export "unreachable") unreachable)
  (func (export "load") (param i32) (result i32) local.get 0 i32.load)
  (func (export "store") (param i32) local.get 0 i32.const 1 i32.store)
  (func (export "divide") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
  (func (export "remainder") (param i64 i64) (result i64) local.get 0 local.get 1 i64.rem_u)
  (func (export "truncate") (param f64) (result i32) local.get 0 i32.trunc_f64_s)
  (func (export "number") (param i32) (result i32) local.get 0 call_indirect (type $number))
  (func (export "nothing") (param i32) local.get 0 call_indirect (type $nothing))
  (func $recurse (export "recurse") (param i32) (result i32)
    local.get 0 call $recurse i32.const 1 i32.add))
"""


class Traps(NullGuest):
    @export("-> i32")
    def seven(self) -> int:
        return 7

    @export("-> i32")
    def count(self) -> int:
        self.memory.write_u32(0, self.memory.read_u32(0) + 1)
        return self.memory.read_u32(0)

    @export("->")
    def unreachable(self) -> None:
        raise TrapError(TrapKind.UNREACHABLE)

    @export("i32 -> i32")
    def load(self, ptr: int) -> int:
        return self.memory.read_u32(ptr)

    @export("i32 ->")
    def store(self, ptr: int) -> None:
        self.memory.write_u32(ptr, 1)

    @export("i32 -> i32")
    def recurse(self, value: int) -> int:
        return self.recurse(value) + 1


@pytest.fixture
def instance(guest: Callable[[str, type[NullGuest]], Module]) -> Iterator[Instance]:
    with guest(WAT, Traps).instantiate() as instance:
        yield instance


def _trap(instance: Instance, name: str, *args: float) -> TrapError:
    """The trap of a call, after which the instance still works."""
    before = instance.exports["count"]()
    with pytest.raises(TrapError) as caught:
        instance.exports[name](*args)
    assert instance.exports["count"]() == before + 1
    return caught.value


@pytest.mark.parametrize(
    ("name", "args", "kind"),
    [
        ("unreachable", (), TrapKind.UNREACHABLE),
        ("load", (65536,), TrapKind.MEMORY_OUT_OF_BOUNDS),
        ("load", (65533,), TrapKind.MEMORY_OUT_OF_BOUNDS),
        ("load", (-1,), TrapKind.MEMORY_OUT_OF_BOUNDS),
        ("store", (2**31,), TrapKind.MEMORY_OUT_OF_BOUNDS),
    ],
)
def test_kind(instance: Instance, name: str, args: tuple[int, ...], kind: TrapKind) -> None:
    error = _trap(instance, name, *args)
    assert error.kind is kind
    assert str(error).startswith("wasm trap: ")


#: What an engine says that does not tell the two apart (see `TrapKind`).
COARSER = {
    TrapKind.INTEGER_OVERFLOW: TrapKind.INVALID_CONVERSION_TO_INTEGER,
    TrapKind.UNINITIALIZED_ELEMENT: TrapKind.INDIRECT_CALL_TYPE_MISMATCH,
}


@pytest.mark.capable(wasm=True)
@pytest.mark.parametrize(
    ("name", "args", "kind"),
    [
        ("divide", (1, 0), TrapKind.INTEGER_DIVIDE_BY_ZERO),
        ("divide", (-(2**31), -1), TrapKind.INTEGER_OVERFLOW),
        ("remainder", (1, 0), TrapKind.INTEGER_DIVIDE_BY_ZERO),
        ("truncate", (math.nan,), TrapKind.INVALID_CONVERSION_TO_INTEGER),
        ("truncate", (1e30,), TrapKind.INTEGER_OVERFLOW),
        ("truncate", (-math.inf,), TrapKind.INTEGER_OVERFLOW),
        ("nothing", (0,), TrapKind.INDIRECT_CALL_TYPE_MISMATCH),
        ("number", (1,), TrapKind.UNINITIALIZED_ELEMENT),
        ("number", (3,), TrapKind.UNDEFINED_ELEMENT),
        ("number", (-1,), TrapKind.UNDEFINED_ELEMENT),
    ],
)
def test_kind_of_wasm_trap(
    instance: Instance, name: str, args: tuple[float, ...], kind: TrapKind
) -> None:
    told = _trap(instance, name, *args).kind
    assert told is kind or (name in ("truncate", "number") and told is COARSER.get(kind))


def test_endless_recursion_is_a_trap(instance: Instance) -> None:
    for _ in range(3):
        assert _trap(instance, "recurse", 1).kind is TrapKind.STACK_OVERFLOW


@pytest.mark.capable(wasm=True, feature="bulk-memory")
def test_bulk_memory_access_out_of_bounds(wat: Callable[[str], Module]) -> None:
    text = """(module (memory 1) (func (export "fill") (param i32)
      local.get 0 i32.const 0 i32.const 1 memory.fill))"""
    with wat(text).instantiate() as instance:
        instance.exports["fill"](65535)
        with pytest.raises(TrapError) as caught:
            instance.exports["fill"](65536)
    assert caught.value.kind is TrapKind.MEMORY_OUT_OF_BOUNDS


@pytest.mark.capable(wasm=True, feature="reference-types")
def test_table_access_out_of_bounds(wat: Callable[[str], Module]) -> None:
    text = """(module (table 1 funcref) (func (export "get") (param i32)
      local.get 0 table.get 0 drop))"""
    with wat(text).instantiate() as instance:
        instance.exports["get"](0)
        with pytest.raises(TrapError) as caught:
            instance.exports["get"](1)
    assert caught.value.kind in (TrapKind.TABLE_OUT_OF_BOUNDS, TrapKind.UNDEFINED_ELEMENT)


NAMED = """(module $named
  (import "env" "host" (func $host))
  (func $inner unreachable)
  (func $middle call $inner)
  (func $outer (export "run") call $middle))
"""


@pytest.mark.capable(wasm=True, backtrace=True)
def test_backtrace_has_the_names_innermost_first(wat: Callable[[str], Module]) -> None:
    with wat(NAMED).instantiate({"env": {"host": lambda: None}}) as instance:
        with pytest.raises(TrapError, match="inner < middle < outer") as caught:
            instance.exports["run"]()
        assert caught.value.backtrace == ("inner", "middle", "outer")


@pytest.mark.capable(wasm=True, backtrace=True)
def test_backtrace_counts_functions_that_have_no_name(wat: Callable[[str], Module]) -> None:
    text = '(module (import "env" "host" (func)) (func unreachable) (func (export "run") call 1))'
    with wat(text).instantiate({"env": {"host": lambda: None}}) as instance:
        with pytest.raises(TrapError) as caught:
            instance.exports["run"]()
        assert caught.value.backtrace == ("func[1]", "func[2]")


@pytest.mark.capable(backtrace=False)
def test_no_backtrace_where_none_is_claimed(instance: Instance) -> None:
    assert _trap(instance, "unreachable").backtrace == ()


class Clumsy(NullGuest):
    @export("-> i32")
    def fail(self) -> int:
        return int(os.environ["ANYWASM_NO_SUCH_VARIABLE"])

    @export("-> i32")
    def wrong(self) -> Any:
        return "text"

    @export("-> i32 i32")
    def few(self) -> Any:
        return (1,)

    @export("->")
    def many(self) -> Any:
        return 1


@pytest.mark.capable(wasm=False)
@pytest.mark.parametrize(
    ("name", "cause"),
    [("fail", KeyError), ("wrong", TypeError), ("few", TypeError), ("many", TypeError)],
)
def test_own_error_of_a_python_guest_is_a_trap(
    guest: Callable[[str, type[NullGuest]], Module], name: str, cause: type[Exception]
) -> None:
    with guest("", Clumsy).instantiate() as instance:
        with pytest.raises(TrapError) as caught:
            instance.exports[name]()
        assert caught.value.kind is TrapKind.OTHER
        assert isinstance(caught.value.__cause__, cause)
        assert cause.__name__ in str(caught.value)
