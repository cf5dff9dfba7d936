"""The sections that a module consists of."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from anywasm.core.binary.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"\0asm"
_CORE_MODULE = b"\x01\0\0\0"
#: The second half of the version field is the layer; 1 is the component model.
_COMPONENT_LAYER = b"\x01\0"
#: Bytes of magic and version, before the first section.
HEADER_SIZE = len(_MAGIC) + len(_CORE_MODULE)


class SectionId(IntEnum):
    """The number of a section in the binary format (core spec, section 5.5.2)."""

    CUSTOM = 0
    TYPE = 1
    IMPORT = 2
    FUNCTION = 3
    TABLE = 4
    MEMORY = 5
    GLOBAL = 6
    EXPORT = 7
    START = 8
    ELEMENT = 9
    CODE = 10
    DATA = 11
    DATA_COUNT = 12
    TAG = 13

    def __str__(self) -> str:
        return f"{self.name.lower().replace('_', ' ')} section"


#: The place of each section in a module; custom sections may be anywhere, any number of times.
_ORDER = {
    section: place
    for place, section in enumerate(
        (
            SectionId.TYPE,
            SectionId.IMPORT,
            SectionId.FUNCTION,
            SectionId.TABLE,
            SectionId.MEMORY,
            SectionId.TAG,
            SectionId.GLOBAL,
            SectionId.EXPORT,
            SectionId.START,
            SectionId.ELEMENT,
            SectionId.DATA_COUNT,
            SectionId.CODE,
            SectionId.DATA,
        )
    )
}


class Section(NamedTuple):
    """One section: `start` is the offset of its id, `body` reads what follows its size."""

    id: SectionId
    start: int
    body: Cursor


def sections(wasm: bytes) -> Iterator[Section]:
    """Walk the sections of a core module; bodies are not looked at.

    Args:
        wasm: The binary module.

    Yields:
        Each section in the module's order.

    Raises:
        CompileError: This is no core module, or its sections are cut off, unknown, repeated or out
            of order.
    """
    cursor = Cursor(wasm, 0, len(wasm), "header")
    if wasm[:4] != _MAGIC:
        raise cursor.error(r"a WebAssembly binary begins with '\0asm', this one does not")
    version = wasm[4:HEADER_SIZE]
    cursor.position = 4
    if version[2:] == _COMPONENT_LAYER:
        raise cursor.error("this is a component, not a core module; build it as a core module")
    if version != _CORE_MODULE:
        raise cursor.error(f"version 1 wanted, the module has the version bytes '{version.hex()}'")
    cursor.position = HEADER_SIZE
    cursor.place = "section header"

    last: SectionId | None = None
    while cursor.remaining:
        start = cursor.position
        number = cursor.u8()
        try:
            section = SectionId(number)
        except ValueError:
            raise cursor.error(f"unknown section id {number}", start) from None
        size = cursor.u32()
        body = Cursor(wasm, cursor.position, cursor.position + size, str(section))
        if size > cursor.remaining:
            raise body.error(f"it has {size} bytes by its header, {cursor.remaining} are left")
        if section is not SectionId.CUSTOM:
            if last is not None and _ORDER[section] <= _ORDER[last]:
                problem = "it is there twice" if section is last else f"it must precede the {last}"
                raise body.error(problem, start)
            last = section
        cursor.position = body.end
        yield Section(section, start, body)
