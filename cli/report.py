"""What can be told about a module without running it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Importing this fills the tables of host functions.
import anywasm.abi.imports  # noqa: F401
from anywasm.abi.runtime import RUNTIME_FUNCTIONS
from anywasm.abi.table import HOST_FUNCTIONS
from anywasm.abi.versions import AbiVersion, known_versions
from anywasm.abi.wasi.table import WASI_FUNCTIONS, WASI_MODULES
from anywasm.core.binary import ModuleInterface, producers, read_interface
from anywasm.core.types import ExternKind, FuncType, ImportType


@dataclass(frozen=True, slots=True)
class ModuleReport:
    """A module's outside, held against what this host has.

    Attributes:
        size: Bytes.
        sha256: Their checksum, hexadecimal.
        interface: Imports, exports, custom sections, start function.
        abi: The proxy-wasm version that it speaks, or None.
    """

    size: int
    sha256: str
    interface: ModuleInterface
    abi: AbiVersion | None

    @property
    def kind(self) -> str:
        """What it is to this host."""
        if self.abi is None:
            unknown = [e.name for e in self.interface.exports if "proxy_abi_version_" in e.name]
            if unknown:
                return f"proxy-wasm of an unknown version ({', '.join(unknown)})"
            return "no proxy-wasm module (exports no proxy_abi_version_*)"
        if self.is_function:
            return "Layotto function (exports proxy_get_id)"
        return "proxy-wasm filter, or function called by its plugin's name"

    @property
    def is_function(self) -> bool:
        """Whether it names itself, as only Layotto's functions do."""
        return any(export.name == "proxy_get_id" for export in self.interface.exports)

    @property
    def execution(self) -> str | None:
        """Where its plugin would run, and why; None where it would not."""
        if self.abi is None:
            return None
        waiting = [
            item.name
            for item in self.interface.imports
            if item.module == "env" and (row := HOST_FUNCTIONS.get(item.name)) and row.blocking
        ]
        if waiting:
            return f"thread (may wait in {', '.join(dict.fromkeys(waiting))})"
        return "inline (imports nothing that waits)"

    @property
    def memory(self) -> str | None:
        """The memory that the host would use."""
        exports = [e for e in self.interface.exports if e.kind is ExternKind.MEMORY]
        exports.sort(key=lambda export: export.name != "memory")
        return f"{exports[0].type}, exported as {exports[0].name!r}" if exports else None

    def lacks(self, item: ImportType) -> str | None:
        """Why this host cannot satisfy an import, or None where it can."""
        if not isinstance(item.type, FuncType):
            return f"a {item.kind} cannot be imported from this host"
        offered: FuncType
        if item.module in WASI_MODULES and item.name in WASI_FUNCTIONS:
            offered = WASI_FUNCTIONS[item.name].type
        elif item.module == "env" and item.name in HOST_FUNCTIONS:
            row = HOST_FUNCTIONS[item.name]
            spoken = frozenset() if self.abi is None else self.abi.lineage
            if row.versions is not None and not row.versions & spoken:
                return f"only in proxy-wasm {', '.join(sorted(row.versions))}"
            # A module may import a function without its status.
            offered = row.type if item.type.results else FuncType(row.type.params)
        elif item.module == "env" and item.name in RUNTIME_FUNCTIONS:
            offered = RUNTIME_FUNCTIONS[item.name].type
        else:
            return "unknown"
        return None if offered == item.type else f"its type here is {offered}"

    def data(self) -> dict[str, Any]:
        """Everything as plain values, in the order to be shown."""
        interface = self.interface
        return {
            "size": self.size,
            "sha256": self.sha256,
            "kind": self.kind,
            "abi_version": None if self.abi is None else self.abi.name,
            "execution": self.execution,
            "memory": self.memory,
            "start": None if interface.start is None else f"function {interface.start}",
            "imports": [
                {
                    "module": item.module,
                    "name": item.name,
                    "type": str(item.type),
                    "lacks": self.lacks(item),
                }
                for item in interface.imports
            ],
            "exports": [{"name": e.name, "type": str(e.type)} for e in interface.exports],
            "custom_sections": [
                {"name": section.name, "bytes": len(section.data)}
                for section in interface.custom_sections
            ],
            "producers": list(_producers(interface)),
        }


def _producers(interface: ModuleInterface) -> Iterator[dict[str, str]]:
    for field, tools in producers(interface.custom_sections).items():
        for name, version in tools:
            yield {"field": field, "name": name, "version": version}


def report_on(wasm: bytes) -> ModuleReport:
    """Read a module.

    Raises:
        CompileError: When it is malformed, or a component; the message has the byte offset.
    """
    interface = read_interface(wasm)
    functions = {e.name for e in interface.exports if e.kind is ExternKind.FUNCTION}
    abi = next((version for version in known_versions() if version.marker in functions), None)
    return ModuleReport(len(wasm), hashlib.sha256(wasm).hexdigest(), interface, abi)
