from __future__ import annotations

from typing import Any

import pytest

from anywasm.core.capabilities import Capabilities
from anywasm.core.errors import LinkError, UnsupportedError
from anywasm.core.linking import MissingImportsError, resolve_imports
from anywasm.core.types import (
    ExternKind,
    FuncType,
    GlobalType,
    ImportType,
    Limits,
    MemoryType,
    TagType,
    ValueType,
)

FUNCTIONS = Capabilities()
EVERYTHING = Capabilities(imports=frozenset(ExternKind))
F = ImportType("env", "f", FuncType((ValueType.I32,), ()))
G = ImportType("env", "g", GlobalType(ValueType.I32))
M = ImportType("env", "memory", MemoryType(Limits(1)))


def test_values_come_in_the_order_of_the_module() -> None:
    other = ImportType("a", "f", FuncType())
    given: dict[str, dict[str, Any]] = {"env": {"f": print, "x": 1}, "a": {"f": abs}}
    assert resolve_imports((F, other, F), given, FUNCTIONS) == [print, abs, print]
    assert resolve_imports((), None, FUNCTIONS) == []


def test_missing_names_are_collected_once_each() -> None:
    with pytest.raises(MissingImportsError) as caught:
        resolve_imports((F, G, F), {"env": {}}, EVERYTHING)
    assert caught.value.missing == (F, G)
    assert str(caught.value) == ("2 missing import(s): env.f: func (i32) -> (); env.g: global i32")
    assert isinstance(caught.value, LinkError)


@pytest.mark.parametrize(
    ("item", "value", "shown"),
    [
        (F, 1, "env.f: func (i32) -> () was given 1"),
        (G, "x", "env.g: global i32 was given 'x'"),
        (M, b"", "env.memory: memory 1.. was given b''"),
    ],
)
def test_wrong_kinds_are_collected(item: ImportType, value: Any, shown: str) -> None:
    with pytest.raises(LinkError) as caught:
        resolve_imports((item,), {"env": {item.name: value}}, EVERYTHING)
    assert shown in str(caught.value)


def test_numbers_will_do_for_globals() -> None:
    assert resolve_imports((G,), {"env": {"g": 5}}, EVERYTHING) == [5]


@pytest.mark.parametrize("item", [G, M, ImportType("env", "t", TagType())])
def test_kind_that_the_engine_cannot_import(item: ImportType) -> None:
    with pytest.raises(UnsupportedError, match=f"cannot import a {item.kind}: env."):
        resolve_imports((item,), {"env": {}}, FUNCTIONS)


def test_missing_wins_over_wrong() -> None:
    with pytest.raises(MissingImportsError):
        resolve_imports((F, G), {"env": {"f": 1}}, EVERYTHING)
