from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from anywasm.core.binary import read_interface, strip_to_interface
from anywasm.core.errors import CompileError
from anywasm.core.types import CustomSection

if TYPE_CHECKING:
    from collections.abc import Callable

    Module = Callable[..., bytes]


def test_contents_are_dropped_and_the_rest_stays_as_it_is(module: Module) -> None:
    outside = [(1, b"\1\x60\0\0"), (3, b"\1\0"), (5, b"\1\0\1"), (6, b"\0"), (7, b"\1\1f\0\0")]
    contents = [(9, b"\0"), (12, b"\1"), (10, b"\1\2\0\x0b"), (11, b"\1\1\0")]
    wasm = module(*outside, (8, b"\0"), *contents, (0, b"\4name"))
    assert strip_to_interface(wasm) == module(*outside, (8, b"\0"), (0, b"\4name"))


def test_debug_information_is_dropped(module: Module) -> None:
    kept = [(0, b"\4name"), (0, b"\x09producers"), (0, b"\6.debug")]
    debug = [(0, b"\x0b.debug_infoX"), (0, b"\x0a.debug_str")]
    wasm = module(debug[0], *kept, debug[1])
    stripped = strip_to_interface(wasm)
    assert stripped == module(*kept)
    assert read_interface(stripped).custom_sections == (
        CustomSection("name", b""),
        CustomSection("producers", b""),
        CustomSection(".debug", b""),
    )


def test_a_padded_section_size_is_kept(module: Module) -> None:
    wasm = module() + b"\1\x81\x80\0\0" + b"\x0a\x81\0\0"
    assert strip_to_interface(wasm) == module() + b"\1\x81\x80\0\0"


def test_stripping_twice_changes_nothing(module: Module) -> None:
    once = strip_to_interface(module((1, b"\0"), (0, b"\1a"), (10, b"\0")))
    assert strip_to_interface(once) == once


def test_a_malformed_module_is_not_stripped(module: Module) -> None:
    with pytest.raises(CompileError, match=r"\(data section\)"):
        strip_to_interface(module() + b"\x0b\x05\0")
