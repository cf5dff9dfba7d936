from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from anywasm.core.errors import ArgumentError, LinkError, UnsupportedError
from anywasm.core.linking import MissingImportsError
from anywasm.core.module import Module
from anywasm.core.types import ExternKind, FuncType, ValueType
from anywasm.core.vm import VM
from anywasm.engines.null.library import NullGuest, export

Guest = Callable[[str, type[NullGuest]], Module]
I32, F64 = ValueType.I32, ValueType.F64

WAT = """(module
  (import "env" "first" (func $first (param i32) (result i32)))
  (import "env" "second" (func $second (param f64)))
  (import "other" "first" (func $third))
  (func (export "run") (result i32)
    call $third f64.const 1 call $second i32.const 1 call $first))
"""


class Linked(NullGuest):
    imports: ClassVar = {
        "env": {"first": "i32 -> i32", "second": "f64 ->"},
        "other": {"first": "->"},
    }
    memory_export = None

    @export("-> i32")
    def run(self) -> Any:
        self.host["other"]["first"]()
        self.host["env"]["second"](1)
        return self.host["env"]["first"](1)


def nothing(*args: object) -> None:
    pass


def test_interface(guest: Guest) -> None:
    module = guest(WAT, Linked)
    assert [(item.module, item.name, item.kind) for item in module.imports] == [
        ("env", "first", ExternKind.FUNCTION),
        ("env", "second", ExternKind.FUNCTION),
        ("other", "first", ExternKind.FUNCTION),
    ]
    assert module.imports[0].type == FuncType((I32,), (I32,))
    assert module.imports[1].type == FuncType((F64,), ())
    assert [item.name for item in module.exports] == ["run"]
    assert module.exports_by_name["run"].type == FuncType((), (I32,))


def test_functions_are_linked_by_both_names(guest: Guest) -> None:
    calls: list[str] = []

    def first(value: int) -> int:
        calls.append("env.first")
        return value + 41

    imports: dict[str, dict[str, Any]] = {
        "env": {"first": first, "second": lambda value: calls.append(f"env.second {value}")},
        "other": {"first": lambda: calls.append("other.first")},
        "unused": {"x": nothing},
    }
    with guest(WAT, Linked).instantiate(imports) as instance:
        assert instance.exports["run"]() == 42
    assert calls == ["other.first", "env.second 1.0", "env.first"]


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (None, ["env.first", "env.second", "other.first"]),
        ({}, ["env.first", "env.second", "other.first"]),
        ({"env": {"second": nothing}}, ["env.first", "other.first"]),
        ({"env": {"first": nothing, "second": nothing}}, ["other.first"]),
    ],
)
def test_missing_imports_are_named_all_at_once(
    guest: Guest, given: dict[str, dict[str, Any]] | None, missing: list[str]
) -> None:
    with pytest.raises(MissingImportsError) as caught:
        guest(WAT, Linked).instantiate(given)
    assert [f"{item.module}.{item.name}" for item in caught.value.missing] == missing
    if "env.first" in missing:
        assert "env.first: func (i32) -> (i32)" in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, "text", object()])
def test_import_of_the_wrong_kind(guest: Guest, value: object) -> None:
    with pytest.raises(LinkError, match=r"env\.second: func \(f64\) -> \(\) was given"):
        guest(WAT, Linked).instantiate(
            {"env": {"first": nothing, "second": value}, "other": {"first": nothing}}
        )


@pytest.mark.capable(wasm=True)
def test_an_import_may_be_asked_for_twice(wat: Callable[[str], Module]) -> None:
    text = """(module
      (import "env" "get" (func $a (result i32)))
      (import "env" "get" (func $b (result i32)))
      (func (export "run") (result i32) call $a call $b i32.add))"""
    module = wat(text)
    assert len(module.imports) == 2
    with module.instantiate({"env": {"get": lambda: 21}}) as instance:
        assert instance.exports["run"]() == 42
    with pytest.raises(MissingImportsError) as caught:
        module.instantiate()
    assert len(caught.value.missing) == 1


@pytest.mark.capable(wasm=True)
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ExternKind.MEMORY, "(memory 1)"),
        (ExternKind.GLOBAL, "(global i32)"),
        (ExternKind.TABLE, "(table 1 funcref)"),
    ],
)
def test_import_of_a_kind_that_is_not_claimed(
    wat: Callable[[str], Module], kind: ExternKind, text: str
) -> None:
    module = wat(f'(module (import "env" "it" {text}))')
    if kind in module.vm.capabilities.imports:
        with pytest.raises(MissingImportsError, match=r"env\.it"):
            module.instantiate()
    else:
        with pytest.raises(UnsupportedError, match=f"import a {kind}"):
            module.instantiate({"env": {"it": 1}})


@pytest.mark.capable(wasm=True)
@pytest.mark.parametrize("name", ["__class__", "", "a b", "é\U0001f600", "keys"])
def test_any_name_will_do(wat: Callable[[str], Module], name: str) -> None:
    text = f"""(module (import "{name}" "{name}" (func $f (result i32)))
      (func (export "{name}") (result i32) call $f))"""
    with wat(text).instantiate({name: {name: lambda: 42}}) as instance:
        assert instance.exports[name]() == 42
        assert instance.call_bits(name) == 42


SAME = '(module (func (export "same") (param {0}) (result {0}) local.get 0))'


@pytest.mark.capable(wasm=True, feature="reference-types")
@pytest.mark.parametrize("value", ["externref", "funcref"])
def test_references_cross_or_are_refused(wat: Callable[[str], Module], value: str) -> None:
    module = wat(SAME.format(value))
    with module.instantiate() as instance:
        if value in module.vm.capabilities.values:
            assert instance.exports["same"](None) is None
        else:
            with pytest.raises(UnsupportedError, match=f"values of type {value}"):
                instance.exports["same"](None)
        with pytest.raises(UnsupportedError, match=f"values of type {value}"):
            instance.call_bits("same", 0)


@pytest.mark.capable(wasm=True, feature="simd")
def test_vectors_cross_as_16_bytes_or_not_at_all(wat: Callable[[str], Module]) -> None:
    vector = bytes(range(16))
    module = wat(SAME.format("v128"))
    with module.instantiate() as instance:
        same = instance.exports["same"]
        if "v128" in module.vm.capabilities.values:
            assert same(vector) == vector
            assert instance.call_bits("same", 2**128 - 1) == 2**128 - 1
            with pytest.raises(ArgumentError, match="16 bytes"):
                same(b"short")
        else:
            with pytest.raises(UnsupportedError, match="values of type v128"):
                same(vector)
            with pytest.raises(UnsupportedError, match="values of type v128"):
                instance.call_bits("same", 1)


@pytest.mark.capable(wasm=True, feature="reference-types")
def test_import_that_takes_a_reference(wat: Callable[[str], Module]) -> None:
    module = wat("""(module (import "env" "take" (func $take (param externref)))
      (func (export "run") (param externref) local.get 0 call $take))""")
    taken: list[object] = []
    if "externref" in module.vm.capabilities.values:
        with module.instantiate({"env": {"take": taken.append}}) as instance:
            instance.exports["run"](taken)
        assert taken[0] is taken
    else:
        with pytest.raises(UnsupportedError, match=r"env\.take.*values of type externref"):
            module.instantiate({"env": {"take": taken.append}})


@pytest.mark.capable(wasm=True)
def test_custom_sections(assemble: Callable[[str], bytes], vm: Any) -> None:
    section = b"\x00\x0a\x04note" + b"hello"
    module = vm.compile(assemble("(module)") + section)
    assert [(item.name, item.data) for item in module.custom_sections] == [("note", b"hello")]


def test_stores_are_for_engines_that_link(vm: VM) -> None:
    if vm.capabilities.linking:
        vm.new_store().close()
    else:
        with pytest.raises(UnsupportedError, match="link instances"):
            vm.new_store()


@pytest.mark.capable(wasm=True)
def test_functions_of_another_instance(wat: Callable[[str], Module]) -> None:
    """Without a store, as any callable is: by way of Python."""
    inner = wat('(module (func (export "f") (param i32) (result i32) local.get 0))')
    outer = wat("""(module (import "in" "f" (func $f (param i32) (result i32)))
      (func (export "f") (result i32) i32.const 42 call $f))""")
    wrong = wat('(module (import "in" "f" (func (param i64) (result i32))))')
    with inner.instantiate() as first:
        with outer.instantiate({"in": first.exports}) as second:
            assert second.exports["f"]() == 42
        if not inner.vm.capabilities.linking:
            with pytest.raises(LinkError, match=r"in\.f"):
                wrong.instantiate({"in": first.exports})
