"""The tools that a module was made with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.core.binary.cursor import Cursor
from anywasm.core.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anywasm.core.types import CustomSection

_SECTION = "producers"


def producers(custom_sections: Iterable[CustomSection]) -> dict[str, list[tuple[str, str]]]:
    """Read the first `producers` section (WebAssembly tool conventions).

    Args:
        custom_sections: Those of a module, as `read_interface` returns them.

    Returns:
        Field (`language`, `processed-by`, `sdk`) to pairs of name and version, in the section's
        order; empty if there is no such section or it is malformed.
    """
    for section in custom_sections:
        if section.name == _SECTION:
            try:
                return _read(Cursor(section.data, 0, len(section.data), "producers section"))
            except CompileError:
                return {}
    return {}


def _read(cursor: Cursor) -> dict[str, list[tuple[str, str]]]:
    fields: dict[str, list[tuple[str, str]]] = {}
    for _ in range(cursor.count(2)):
        values = fields.setdefault(cursor.name(), [])
        values += [(cursor.name(), cursor.name()) for _ in range(cursor.count(2))]
    cursor.finish()
    return fields
