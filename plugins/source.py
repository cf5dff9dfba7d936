"""Where a module's bytes come from, and the proof that they are the right ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from anywasm.plugins.config import VmConfig
from anywasm.plugins.errors import PluginLoadError


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """A module as it was read.

    Attributes:
        place: The file, or the URL without what may be secret in it.
        wasm: Its bytes.
        sha256: Their checksum, hexadecimal.
    """

    place: str
    wasm: bytes
    sha256: str


def read_source(config: VmConfig, *, refresh: bool = False) -> ModuleSource:
    """Read the module of `config` and check the checksums that it pins, on every load.

    Args:
        config: Which module.
        refresh: Whether a server is asked for a newer one even where an earlier one would do.

    Raises:
        PluginLoadError: When it cannot be read or fetched, is empty or too long, or is another than
            was pinned.
    """
    if config.url is not None:
        # Only who fetches needs an HTTP client, which takes a while to import.
        from anywasm.plugins.remote import fetch_module, shown

        place = shown(config.url)
        wasm = fetch_module(
            config, lambda wasm, sha256: _check(config, place, wasm, sha256), refresh=refresh
        )
    elif config.path is not None:
        place = str(config.path)
        try:
            with config.path.open("rb") as file:
                # A device, or a file that grows, must not fill the memory either.
                wasm = file.read(config.max_module_bytes + 1)
        except OSError as error:
            raise PluginLoadError(f"cannot read the module {place}: {error.strerror}") from error
    else:
        raise PluginLoadError("vm_config has neither path nor url")
    sha256 = hashlib.sha256(wasm).hexdigest()
    _check(config, place, wasm, sha256)
    return ModuleSource(place, wasm, sha256)


def _check(config: VmConfig, place: str, wasm: bytes, sha256: str) -> None:
    if not wasm:
        raise PluginLoadError(f"the module {place} is empty")
    if len(wasm) > config.max_module_bytes:
        raise PluginLoadError(
            f"the module {place} is longer than {config.max_module_bytes} bytes; "
            "raise vm_config.max_module_bytes if that is meant"
        )
    found = {"sha256": sha256}
    if config.md5 is not None:
        found["md5"] = hashlib.md5(wasm, usedforsecurity=False).hexdigest()
    for algorithm, value in found.items():
        pinned = getattr(config, algorithm)
        if pinned is not None and pinned != value:
            raise PluginLoadError(
                f"the module {place} has {algorithm} {value}, but {pinned} is pinned; "
                "pin the new checksum if the change is meant"
            )
