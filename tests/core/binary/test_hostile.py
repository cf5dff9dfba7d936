from __future__ import annotations

import contextlib
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime import wat2wasm

from anywasm.core.binary import ModuleInterface, read_interface, strip_to_interface
from anywasm.core.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Callable

    Module = Callable[..., bytes]

HUGE = b"\xff\xff\xff\xff\x0f"
READ_SECTIONS = [1, 2, 3, 4, 5, 13, 6, 7]
EVERYTHING = bytes(
    wat2wasm(
        r"""(module $named
        (type $s (struct (field i8) (field (mut i32))))
        (rec (type $a (sub (func (param (ref null $b) i32)))) (type $b (array (mut i64))))
        (import "m" "f" (func $i (type $a)))
        (import "m" "t" (table i64 1 2 funcref))
        (import "m" "m" (memory i64 1 2 shared))
        (import "m" "g" (global (mut externref)))
        (import "m" "tag" (tag (param i32)))
        (func $f (export "f") (result v128) (v128.const i64x2 0 0))
        (func $s)
        (table (export "t") 2 funcref (ref.func $f))
        (memory (export "m") 1 (pagesize 1))
        (global (export "g") f32 (f32.const 1))
        (global (ref $s) (struct.new $s (i32.const 1) (i32.const 2)))
        (tag (export "tag") (param i64))
        (start $s)
        (elem (i32.const 0) func $f $f)
        (data (i64.const 8) "data"))"""
    )
)


def refuses_or_reads(wasm: bytes) -> None:
    with contextlib.suppress(CompileError):
        assert isinstance(read_interface(wasm), ModuleInterface)
    with contextlib.suppress(CompileError):
        assert isinstance(strip_to_interface(wasm), bytes)


def section_ends(wasm: bytes) -> list[int]:
    return [end for end in range(len(wasm) + 1) if is_read(wasm[:end])]


def is_read(wasm: bytes) -> bool:
    try:
        read_interface(wasm)
    except CompileError:
        return False
    return True


def test_a_module_cut_off_anywhere_but_between_sections_is_refused() -> None:
    # Type, import, function, table, memory, tag, global, export, start, element, code, data and
    # name section: 13 ends, and that of the header.
    ends = section_ends(EVERYTHING)
    assert len(ends) == 14
    assert (ends[0], ends[-1]) == (8, len(EVERYTHING))


@pytest.mark.parametrize("number", READ_SECTIONS)
def test_a_huge_count_fails_before_anything_is_allocated(module: Module, number: int) -> None:
    wasm = module((number, HUGE + bytes(1000)))
    tracemalloc.start()
    try:
        with pytest.raises(CompileError, match="4294967295 elements cannot fit into 1000 bytes"):
            read_interface(wasm)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_many_empty_recursion_groups_are_read(module: Module, leb: Callable[[int], bytes]) -> None:
    assert is_read(module((1, leb(100_000) + b"\x4e\0" * 100_000)))


def test_a_long_expression_is_read(module: Module) -> None:
    assert is_read(module((6, b"\1\x7f\0" + b"\x41\0" * 100_000 + b"\x0b")))


@given(st.binary())
def test_random_bytes(data: bytes) -> None:
    refuses_or_reads(data)


@given(st.lists(st.tuples(st.integers(0, 14), st.binary(max_size=40)), max_size=6))
def test_random_sections(module: Module, sections: list[tuple[int, bytes]]) -> None:
    refuses_or_reads(module(*sections))


@given(st.sampled_from(READ_SECTIONS), st.integers(0, 3), st.binary(max_size=30))
def test_random_contents_of_one_section(
    module: Module, number: int, count: int, body: bytes
) -> None:
    refuses_or_reads(module((1, b"\1\x60\0\0"), (number, bytes([count]) + body)))
    if number == 1:
        refuses_or_reads(module((1, bytes([count]) + body)))


@given(st.data())
def test_mutations_of_a_module_with_everything(data: st.DataObject) -> None:
    wasm = bytearray(EVERYTHING)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(8, len(wasm)))
        wasm[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    refuses_or_reads(bytes(wasm))


def test_every_byte_changed_in_every_bit() -> None:
    for at in range(len(EVERYTHING)):
        for bit in range(8):
            wasm = bytearray(EVERYTHING)
            wasm[at] ^= 1 << bit
            refuses_or_reads(bytes(wasm))
