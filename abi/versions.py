"""Which proxy-wasm ABI a module speaks, told by an export that is never called."""

from __future__ import annotations

from anywasm.core.errors import AbiError
from anywasm.core.module import Module
from anywasm.core.types import ExternKind

V0_1_0 = "0.1.0"
V0_2_0 = "0.2.0"
V0_2_1 = "0.2.1"

#: Marker export -> version, in the order in which they are looked for.
MARKERS = {
    "proxy_abi_version_0_1_0": V0_1_0,
    "proxy_abi_version_0_2_0": V0_2_0,
    "proxy_abi_version_0_2_1": V0_2_1,
}


def abi_version(module: Module) -> str:
    """The version that the module's exports name; the first hit in the order of `MARKERS` wins.

    Raises:
        AbiError: When no known marker is exported; names the unknown ones.
    """
    for marker, version in MARKERS.items():
        export = module.exports_by_name.get(marker)
        if export is not None and export.kind is ExternKind.FUNCTION:
            return version
    unknown = [n for n in module.exports_by_name if n.startswith("proxy_abi_version_")]
    found = f"it exports {', '.join(unknown)}" if unknown else "it exports no proxy_abi_version_*"
    raise AbiError(f"missing or unknown proxy-wasm ABI: {found}; known are {', '.join(MARKERS)}")
