from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anywasm.core.engine import (
    PAGE_SIZE,
    VM,
    ExternKind,
    Global,
    GlobalType,
    MemoryType,
    Module,
    ResourceLimits,
    TableType,
    ValueType,
)
from anywasm.core.errors import (
    ArgumentError,
    ClosedError,
    DeadlineExceededError,
    InstantiationError,
    LinkError,
    TableBoundsError,
    UnsupportedError,
)
from anywasm.core.store import Store
from anywasm.core.types import REFERENCES, Limits

pytestmark = pytest.mark.capable(imports="table")

Wat = Callable[[str], Module]

OWNER = """(module
  (memory (export "memory") 1 4)
  (table (export "table") 2 8 funcref)
  (global $count (export "count") (mut i32) (i32.const 7))
  (global (export "fixed") i64 (i64.const -2))
  (func $twice (export "twice") (param i32) (result i32) local.get 0 i32.const 2 i32.mul)
  (func (export "same") (param f32) (result f32) local.get 0)
  (func (export "forever") (loop br 0))
  (func (export "bump") global.get $count i32.const 1 i32.add global.set $count)
  (func (export "grow") (drop (memory.grow (i32.const 1))))
  (elem (i32.const 0) $twice))
"""
USER = """(module
  (import "owner" "memory" (memory 1))
  (import "owner" "table" (table 2 funcref))
  (import "owner" "count" (global $count (mut i32)))
  (import "owner" "fixed" (global $fixed i64))
  (import "owner" "twice" (func $twice (param i32) (result i32)))
  (import "owner" "same" (func $same (param f32) (result f32)))
  (import "owner" "forever" (func $forever))
  (import "owner" "bump" (func $bump))
  (type $unary (func (param i32) (result i32)))
  (func (export "direct") (param i32) (result i32) local.get 0 call $twice)
  (func (export "indirect") (param i32) (result i32)
    local.get 0 i32.const 0 call_indirect (type $unary))
  (func (export "same") (param f32) (result f32) local.get 0 call $same)
  (func (export "forever") call $forever)
  (func (export "count") (result i32) call $bump global.get $count)
  (func (export "fixed") (result i64) global.get $fixed)
  (func (export "put") (param i32 i32) local.get 0 local.get 1 i32.store)
  (func (export "pages") (result i32) memory.size))
"""


@pytest.fixture
def store(vm: VM) -> Iterator[Store]:
    with vm.new_store() as store:
        yield store


@pytest.fixture
def linked(store: Store, wat: Wat) -> tuple[Any, Any]:
    """The owner, and the user that imports all that it exports."""
    owner = wat(OWNER).instantiate(store=store)
    return owner, wat(USER).instantiate({"owner": owner.exports}, store=store)


def test_everything_is_shared(linked: tuple[Any, Any]) -> None:
    owner, user = linked
    assert user.exports["direct"](21) == 42
    assert user.exports["indirect"](21) == 42
    assert user.exports["fixed"]() == 2**64 - 2
    assert user.exports["count"]() == 8 == owner.exports["count"].value
    owner.exports["count"].value = 41
    assert user.exports["count"]() == 42
    user.exports["put"](4, 77)
    assert owner.memory.read_u32(4) == 77
    owner.exports["grow"]()
    assert user.exports["pages"]() == 2
    assert owner.exports["table"].size == 2


def test_signalling_nan_passes_from_guest_to_guest(linked: tuple[Any, Any]) -> None:
    assert linked[1].call_bits("same", 0x7FA0_0001) == 0x7FA0_0001


@pytest.mark.capable(interrupt=True)
def test_deadline_holds_for_the_whole_store(linked: tuple[Any, Any]) -> None:
    owner, user = linked
    with pytest.raises(DeadlineExceededError), owner.deadline(0.05):
        user.exports["forever"]()
    assert user.exports["direct"](1) == 2


def test_host_makes_what_guests_import(store: Store, wat: Wat) -> None:
    memory = store.new_memory(MemoryType(Limits(1, 3)))
    table = store.new_table(TableType(ValueType.FUNCREF, Limits(2, 5)))
    count = store.new_global(GlobalType(ValueType.I32, mutable=True), -1)
    given = {"memory": memory, "table": table, "count": count, "fixed": 5}
    functions = wat(OWNER).instantiate(store=store).exports
    names = ("twice", "same", "forever", "bump")
    imports = {"owner": given | {name: functions[name] for name in names}}
    user = wat(USER).instantiate(imports, store=store)
    memory.write(0, b"from the host")
    user.exports["put"](0, 0x6D6F7246)
    assert memory.read(0, 13) == b"From the host"
    assert memory.grow(1) == 1
    assert user.exports["pages"]() == 2
    assert (table.size, user.exports["fixed"]()) == (2, 5)
    assert count.value == 2**32 - 1
    count.value = 3
    assert user.exports["count"]() == 3


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ValueType.I32, 2**32 - 1),
        (ValueType.I64, 2**63),
        (ValueType.F32, 1.5),
        (ValueType.F64, -0.1),
        (ValueType.V128, bytes(range(16))),
        (ValueType.EXTERNREF, {"any": "object"}),
        (ValueType.FUNCREF, None),
    ],
)
def test_globals_of_every_type(store: Store, kind: ValueType, value: Any) -> None:
    if kind not in store.vm.capabilities.values:
        with pytest.raises(UnsupportedError, match=f"values of type {kind}"):
            store.new_global(GlobalType(kind, mutable=True), value)
        return
    variable = store.new_global(GlobalType(kind, mutable=True), value)
    assert variable.value == value
    assert variable.type == GlobalType(kind, mutable=True)
    if kind is not ValueType.EXTERNREF:
        constant = store.new_global(GlobalType(kind), value)
        assert constant.value == value
        with pytest.raises(ArgumentError):
            constant.value = value
    if kind not in REFERENCES:
        with pytest.raises(ArgumentError):
            store.new_global(GlobalType(kind), "text")


def test_types_that_cannot_be(store: Store) -> None:
    with pytest.raises(ArgumentError, match=r"memory 3\.\.2"):
        store.new_memory(MemoryType(Limits(3, 2)))
    with pytest.raises(ArgumentError, match="MemoryType"):
        store.new_memory(GlobalType(ValueType.I32))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [ValueType.FUNCREF, ValueType.EXTERNREF])
def test_tables(store: Store, wat: Wat, kind: ValueType) -> None:
    element = wat(OWNER).instantiate(store=store).exports["twice"]
    table = store.new_table(TableType(kind, Limits(2, 4)))
    if kind not in store.vm.capabilities.values:
        for refused in (lambda: table.get(0), lambda: table.set(0), lambda: table.grow(1)):
            with pytest.raises(UnsupportedError, match=f"values of type {kind}"):
                refused()
        with pytest.raises(UnsupportedError):
            store.new_table(TableType(kind, Limits(2)), element)
        return
    assert [table.get(0), table.get(1)] == [None, None]
    table.set(1, element)
    assert table.get(1) is element
    assert table.grow(2, element) == 2
    assert (table.size, table.get(3)) == (4, element)
    table.set(1)
    assert table.get(1) is None
    for outside in (4, -1, 2**64):
        with pytest.raises(TableBoundsError):
            table.get(outside)
        with pytest.raises(TableBoundsError):
            table.set(outside)
    with pytest.raises(TableBoundsError, match="grow"):
        table.grow(1)
    with pytest.raises(ArgumentError):
        table.get("0")  # type: ignore[arg-type]
    assert store.new_table(TableType(kind, Limits(2)), element).get(1) is element
    if kind is ValueType.FUNCREF:
        with pytest.raises(ArgumentError, match="no function of this store"):
            table.set(0, print)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ExternKind.MEMORY, '(import "owner" "memory" (memory 2))'),
        (ExternKind.TABLE, '(import "owner" "table" (table 3 funcref))'),
        (ExternKind.GLOBAL, '(import "owner" "count" (global (mut i64)))'),
        (ExternKind.GLOBAL, '(import "owner" "fixed" (global (mut i64)))'),
        (ExternKind.FUNCTION, '(import "owner" "twice" (func (param i64)))'),
    ],
)
def test_types_must_match(store: Store, wat: Wat, kind: ExternKind, text: str) -> None:
    owner = wat(OWNER).instantiate(store=store)
    with pytest.raises(LinkError):
        wat(f"(module {text})").instantiate({"owner": owner.exports}, store=store)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("memory", '(import "owner" "memory" (memory 1))'),
        ("table", '(import "owner" "table" (table 2 funcref))'),
        ("count", '(import "owner" "count" (global (mut i32)))'),
    ],
)
def test_what_is_of_another_store_is_refused(store: Store, wat: Wat, name: str, text: str) -> None:
    user = wat(f"(module {text})")
    with wat(OWNER).instantiate() as owner:
        for place in (store, None):
            with pytest.raises(LinkError, match=f"owner.{name}.*store"):
                user.instantiate({"owner": owner.exports}, store=place)


def test_number_for_a_constant_needs_no_store(store: Store, wat: Wat) -> None:
    module = wat("""(module (import "env" "n" (global $n i64))
      (func (export "n") (result i64) global.get $n))""")
    with module.instantiate({"env": {"n": -9}}) as instance:
        assert instance.exports["n"]() == 2**64 - 9
    with pytest.raises(LinkError, match=r"env\.n"):
        module.instantiate({"env": {"n": 2**64}})


@pytest.mark.capable(memory_limit=True)
def test_limits_are_the_stores(store: Store, wat: Wat) -> None:
    with store.vm.new_store(ResourceLimits(memory_bytes=2 * PAGE_SIZE)) as bounded:
        memory = bounded.new_memory(MemoryType(Limits(1)))
        assert memory.grow(1) == 1
        with pytest.raises(InstantiationError):
            bounded.new_memory(MemoryType(Limits(3)))
        with pytest.raises(ArgumentError, match="new_store"):
            wat("(module)").instantiate(
                limits=ResourceLimits(memory_bytes=PAGE_SIZE), store=bounded
            )
    with pytest.raises(ArgumentError, match="start_seconds"):
        store.vm.new_store(ResourceLimits(start_seconds=1))


def test_closing_the_store_closes_all(store: Store, wat: Wat) -> None:
    owner = wat(OWNER).instantiate(store=store)
    owner.close()
    assert not owner.closed
    assert owner.store is store
    twice, memory, count = (owner.exports[name] for name in ("twice", "memory", "count"))
    table = owner.exports["table"]
    assert twice(2) == 4
    assert memory.read(0, 1) == b"\0"
    store.close()
    store.close()
    assert owner.closed
    assert store.closed

    def of(variable: Global) -> Any:
        return variable.value

    uses: tuple[Callable[[], object], ...] = (
        lambda: twice(2),
        lambda: memory.read(0, 1),
        lambda: of(count),
        lambda: table.size,
        lambda: store.new_memory(MemoryType(Limits(1))),
        lambda: wat("(module)").instantiate(store=store),
    )
    for use in uses:
        with pytest.raises(ClosedError):
            use()
