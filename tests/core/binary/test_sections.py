from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from anywasm.core.binary import read_interface
from anywasm.core.binary.sections import SectionId, sections
from anywasm.core.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Callable

    Module = Callable[..., bytes]

IN_ORDER = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11]


def ids(wasm: bytes) -> list[int]:
    return [section.id for section in sections(wasm)]


def test_a_module_may_be_empty(module: Module) -> None:
    assert ids(module()) == []


def test_all_sections_in_order_with_custom_ones_anywhere(module: Module) -> None:
    wasm = [pair for number in IN_ORDER for pair in ((0, b"\0"), (number, b""), (0, b"\0"))]
    assert ids(module(*wasm)) == [i for number in IN_ORDER for i in (0, number, 0)]


@pytest.mark.parametrize(("first", "second"), list(combinations(IN_ORDER, 2)))
def test_sections_out_of_order_are_refused(module: Module, first: int, second: int) -> None:
    assert ids(module((first, b""), (second, b""))) == [first, second]
    with pytest.raises(CompileError, match=f"({SectionId(first)}).*precede.*{SectionId(second)}"):
        ids(module((second, b""), (first, b"")))


@pytest.mark.parametrize("number", IN_ORDER)
def test_a_section_that_is_there_twice_is_refused(module: Module, number: int) -> None:
    with pytest.raises(CompileError, match=r"byte 0xd .*twice"):
        ids(module((number, b"\0"), (0, b""), (number, b"\0")))


def test_an_unknown_section_is_refused(module: Module) -> None:
    with pytest.raises(CompileError, match=r"byte 0x8 \(section header\): unknown section id 14"):
        ids(module((14, b"")))


def test_a_section_longer_than_the_module_is_refused(module: Module) -> None:
    with pytest.raises(CompileError, match=r"\(code section\).*100 bytes .* 2 are left"):
        ids(module() + b"\x0a\x64ab")


@pytest.mark.parametrize(
    ("number", "body"),
    [(1, b"\0"), (2, b"\0"), (3, b"\0"), (4, b"\0"), (5, b"\0"), (6, b"\0"), (7, b"\0")],
)
def test_bytes_left_over_in_a_section_are_refused(module: Module, number: int, body: bytes) -> None:
    read_interface(module((number, body)))
    with pytest.raises(CompileError, match=rf"byte 0xb \({SectionId(number)}\): 2 bytes more"):
        read_interface(module((number, body + b"\0\0")))


def test_trailing_garbage_is_refused(module: Module) -> None:
    with pytest.raises(CompileError, match="unknown section id 255"):
        ids(module((1, b"\0")) + b"\xff")


@pytest.mark.parametrize("wasm", [b"", b"\0as", b"(module)", b"\x7fELF\1\0\0\0"])
def test_what_is_no_wasm_binary_is_refused(wasm: bytes) -> None:
    with pytest.raises(CompileError, match=r"byte 0x0 \(header\): a WebAssembly binary begins"):
        ids(wasm)


@pytest.mark.parametrize("version", [b"", b"\1\0\0", b"\2\0\0\0", b"\1\0\2\0"])
def test_an_unknown_version_is_refused(version: bytes) -> None:
    with pytest.raises(CompileError, match=r"byte 0x4 \(header\): version 1 wanted"):
        ids(b"\0asm" + version)


def test_a_component_is_called_so() -> None:
    with pytest.raises(CompileError, match="this is a component, not a core module"):
        ids(b"\0asm\x0d\0\1\0")
