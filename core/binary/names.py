"""Function names, for backtraces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.core.binary.cursor import Cursor
from anywasm.core.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anywasm.core.types import CustomSection

_SECTION = "name"
_FUNCTION_NAMES = 1


def function_names(custom_sections: Iterable[CustomSection]) -> dict[int, str]:
    """Read the function names of the first `name` section (core spec, section 7.4.1).

    A large module has tens of thousands of names, which takes milliseconds: call it when a
    backtrace needs names, and keep the result.

    Args:
        custom_sections: Those of a module, as `read_interface` returns them.

    Returns:
        Function index to name; empty if there is no such section or it is malformed, for custom
        sections cannot make a module invalid.
    """
    for section in custom_sections:
        if section.name == _SECTION:
            try:
                return _read(Cursor(section.data, 0, len(section.data), "name section"))
            except CompileError:
                return {}
    return {}


def _read(cursor: Cursor) -> dict[int, str]:
    while cursor.remaining:
        subsection = cursor.u8()
        size = cursor.count()
        if subsection == _FUNCTION_NAMES:
            cursor.end = cursor.position + size
            return {cursor.u32(): cursor.name() for _ in range(cursor.count(2))}
        cursor.position += size
    return {}
