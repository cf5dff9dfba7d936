"""Which proxy-wasm ABI a module speaks, told by an export that is never called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from anywasm.core.errors import AbiError
from anywasm.core.hooks import generation, manager, plugin_manager
from anywasm.core.hookspecs import hookspec
from anywasm.core.module import Module
from anywasm.core.types import ExternKind


@dataclass(frozen=True, slots=True)
class AbiVersion:
    """A version of the ABI.

    Attributes:
        name: What the table of host functions calls it.
        marker: The export that tells it.
        lineage: The versions whose host functions it has, itself among them.
    """

    name: str
    marker: str
    lineage: frozenset[str]


class RegisterAbiVersion(Protocol):
    """What `register_abi_versions` receives."""

    def __call__(self, name: str, marker: str, based_on: str = "0.2.1") -> None:
        """Offer a version; it has the host functions of `based_on` and those declared for it."""


class AbiVersionSpecs:
    """Hooks about ABI versions."""

    @hookspec
    def register_abi_versions(self, register: RegisterAbiVersion) -> None:
        """Call `register(name, marker)` for each ABI version that the plugin brings."""


manager.add_hookspecs(AbiVersionSpecs)


def known_versions() -> tuple[AbiVersion, ...]:
    """All versions, in the order in which their markers are looked for.

    What plugins bring is asked for again once one was registered or removed.
    """
    return _ask(generation())


@lru_cache(maxsize=1)
def _ask(_: int) -> tuple[AbiVersion, ...]:
    versions: dict[str, AbiVersion] = {}

    def register(name: str, marker: str, based_on: str = "0.2.1") -> None:
        if based_on and based_on not in versions:
            raise AbiError(f"ABI version {name} is based on {based_on}, which is not known")
        base = versions[based_on].lineage if based_on else frozenset()
        versions.setdefault(name, AbiVersion(name, marker, base | {name}))

    register("0.1.0", "proxy_abi_version_0_1_0", "")
    register("0.2.0", "proxy_abi_version_0_2_0", "")
    register("0.2.1", "proxy_abi_version_0_2_1", "0.2.0")
    # Higress's name for 0.2.1 with Redis calls.
    register("0.2.100", "proxy_abi_version_0_2_100")
    plugin_manager().hook.register_abi_versions(register=register)
    return tuple(versions.values())


def abi_version(module: Module) -> AbiVersion:
    """The version that the module's exports name; the first hit in `known_versions` wins.

    Raises:
        AbiError: When no known marker is exported; names the unknown ones.
    """
    versions = known_versions()
    for version in versions:
        export = module.exports_by_name.get(version.marker)
        if export is not None and export.kind is ExternKind.FUNCTION:
            return version
    unknown = [n for n in module.exports_by_name if n.startswith("proxy_abi_version_")]
    found = f"it exports {', '.join(unknown)}" if unknown else "it exports no proxy_abi_version_*"
    known = ", ".join(version.marker for version in versions)
    raise AbiError(f"missing or unknown proxy-wasm ABI: {found}; known are {known}")
