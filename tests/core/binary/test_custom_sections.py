from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import wat2wasm

from anywasm.core.binary import function_names, producers, read_interface
from anywasm.core.types import CustomSection

if TYPE_CHECKING:
    from collections.abc import Callable

    Leb = Callable[[int], bytes]
    Vector = Callable[..., bytes]
    Name = Callable[[str], bytes]


def test_function_names_come_from_the_name_section() -> None:
    wasm = wat2wasm('(module $m (import "a" "b" (func $log)) (func (local $x i32)) (func $run))')
    assert function_names(read_interface(bytes(wasm)).custom_sections) == {0: "log", 2: "run"}


def test_a_module_without_a_name_section_has_no_names() -> None:
    assert function_names([CustomSection("other", b"")]) == {}


def test_a_name_section_without_functions_has_no_names() -> None:
    assert function_names([CustomSection("name", b"\0\2\1m")]) == {}


@pytest.mark.parametrize(
    "data",
    [
        b"\1",
        b"\1\x7f",
        b"\0\5\1m",
        b"\1\4\2\0\1a",
        b"\1\4\1\0\1\xff",
        b"\1\6\xff\xff\xff\xff\x0f\0",
        # The second name lies beyond the subsection, though within the section.
        b"\1\4\2\0\1a\1\1b",
    ],
)
def test_a_malformed_name_section_is_ignored(data: bytes) -> None:
    assert function_names([CustomSection("name", data)]) == {}


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.text()))
def test_every_function_name_is_read_back(
    leb: Leb, vector: Vector, name: Name, names: dict[int, str]
) -> None:
    body = vector(*[leb(index) + name(text) for index, text in names.items()])
    section = CustomSection("name", b"\0\2\1m" + b"\1" + leb(len(body)) + body + b"\x02\1\0")
    assert function_names([section]) == names


values = st.lists(st.tuples(st.text(), st.text()), max_size=4)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_every_producer_is_read_back(
    vector: Vector, name: Name, fields: dict[str, list[tuple[str, str]]]
) -> None:
    data = vector(
        *[
            name(field) + vector(*[name(tool) + name(version) for tool, version in tools])
            for field, tools in fields.items()
        ]
    )
    assert producers([CustomSection("name", b""), CustomSection("producers", data)]) == fields


@pytest.mark.parametrize("data", [b"", b"\1", b"\1\1a\1\1b", b"\1\1a\0\0", b"\xff\xff\xff\xff\x0f"])
def test_a_malformed_producers_section_is_ignored(data: bytes) -> None:
    assert producers([CustomSection("producers", data)]) == {}


def test_a_module_without_a_producers_section_has_no_producers() -> None:
    assert producers([]) == {}


@given(st.binary())
def test_custom_data_never_raises(data: bytes) -> None:
    assert isinstance(function_names([CustomSection("name", data)]), dict)
    assert isinstance(producers([CustomSection("producers", data)]), dict)
