"""A module without its contents."""

from __future__ import annotations

from anywasm.core.binary.sections import HEADER_SIZE, SectionId, sections

_CONTENTS = {SectionId.ELEMENT, SectionId.DATA_COUNT, SectionId.CODE, SectionId.DATA}
#: DWARF, which is often larger than the code (tool conventions, "DWARF for WebAssembly").
_DEBUG_PREFIX = ".debug_"


def strip_to_interface(wasm: bytes) -> bytes:
    """Keep only the sections that `read_interface` reads.

    The result is no valid module, since its functions have no code. `read_interface` finds the same
    in it as in the original, except for the `.debug_*` custom sections, which are dropped.

    Args:
        wasm: The binary module.

    Returns:
        The kept sections, byte for byte.

    Raises:
        CompileError: The sections are malformed. What is in them is not looked at.
    """
    kept = [wasm[:HEADER_SIZE]]
    for section in sections(wasm):
        if section.id in _CONTENTS:
            continue
        if section.id is SectionId.CUSTOM and section.body.name().startswith(_DEBUG_PREFIX):
            continue
        kept.append(wasm[section.start : section.body.end])
    return b"".join(kept)
