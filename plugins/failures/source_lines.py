"""Lines of the source for places in a module's code, from its debug information.

WebAssembly keeps DWARF in custom sections; its addresses count from the code section's content.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection
from typing import Any

from anywasm.core.binary.sections import SectionId, sections

_log = logging.getLogger("anywasm.plugins")

#: Longer line tables are left alone: they are read in Python, which the server runs in, too.
MOST_DEBUG_LINE = 4 * 1024 * 1024


def source_lines(wasm: bytes, offsets: Collection[int]) -> dict[int, str]:
    """`FILE:LINE` for each offset in the module's bytes for which the module tells one.

    Takes up to seconds for a large module: not for an event loop.
    """
    if not offsets:
        return {}
    try:
        from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo
    except ImportError:
        return {}
    code = 0
    debug: dict[str, bytes] = {}
    for section in sections(wasm):
        if section.id is SectionId.CODE:
            code = section.body.position
        elif section.id is SectionId.CUSTOM:
            name = section.body.name()
            if name.startswith(".debug_"):
                debug[name[1:]] = wasm[section.body.position : section.body.end]
    if not debug.get("debug_line") or len(debug["debug_line"]) > MOST_DEBUG_LINE:
        return {}

    def part(name: str) -> Any:
        data = debug.get(name)
        if data is None:
            return None
        return DebugSectionDescriptor(io.BytesIO(data), name, 0, len(data), 0)

    try:
        info = DWARFInfo(
            DwarfConfig(little_endian=True, machine_arch="wasm", default_address_size=4),
            *(part(name) for name in _SECTIONS),
        )
        return _look_up(info, {offset - code: offset for offset in offsets})
    except Exception as error:  # whatever a compiler has written there, the failure is told
        _log.warning("the module's debug information cannot be read: %s", error)
        return {}


#: In the order of `DWARFInfo`'s parameters.
_SECTIONS = (
    "debug_info",
    "debug_aranges",
    "debug_abbrev",
    "debug_frame",
    "eh_frame",
    "debug_str",
    "debug_loc",
    "debug_ranges",
    "debug_line",
    "debug_pubtypes",
    "debug_pubnames",
    "debug_addr",
    "debug_str_offsets",
    "debug_line_str",
    "debug_loclists",
    "debug_rnglists",
    "debug_sup",
    "gnu_debugaltlink",
    "debug_types",
)


def _look_up(info: Any, wanted: dict[int, int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for unit in info.iter_CUs():
        program = info.line_program_for_CU(unit)
        if program is None:
            continue
        before = None
        dropped = False
        for state in (entry.state for entry in program.get_entries()):
            if state is None:
                continue
            if before is None or before.end_sequence:
                # There is no code at 0: linkers let functions that they have dropped begin there.
                dropped = not state.address
            elif not dropped:
                for address, offset in wanted.items():
                    if before.address <= address < state.address:
                        found[offset] = f"{_file(program, before.file)}:{before.line}"
            before = state
        if len(found) == len(wanted):
            break
    return found


def _file(program: Any, index: int) -> str:
    """The file of that number; DWARF 5 counts files and folders from 0, those before it from 1."""
    first = 0 if program["version"] >= 5 else 1
    entry = program["file_entry"][index - first]
    name: str = entry.name.decode(errors="replace")
    folder = entry.dir_index - first
    folders = program["include_directory"]
    if name.startswith("/") or not 0 <= folder < len(folders):
        return name
    return f"{folders[folder].decode(errors='replace')}/{name}"
