"""Where a module's bytes come from, and the proof that they are the right ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from anywasm.plugins.config import VmConfig
from anywasm.plugins.errors import PluginLoadError


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """A module as it was read.

    Attributes:
        path: The file.
        wasm: Its bytes.
        sha256: Their checksum, hexadecimal.
    """

    path: Path
    wasm: bytes
    sha256: str


def read_source(config: VmConfig) -> ModuleSource:
    """Read the module of `config` and check the checksums that it pins, on every load.

    Raises:
        PluginLoadError: When the file cannot be read, is empty, or is another than was pinned.
    """
    path = config.path
    if path is None:
        raise PluginLoadError("vm_config has no path")
    try:
        wasm = path.read_bytes()
    except OSError as error:
        raise PluginLoadError(f"cannot read the module {path}: {error.strerror}") from error
    if not wasm:
        raise PluginLoadError(f"the module {path} is empty")
    sha256 = hashlib.sha256(wasm).hexdigest()
    _check(path, "sha256", config.sha256, sha256)
    if config.md5 is not None:
        md5 = hashlib.md5(wasm, usedforsecurity=False).hexdigest()
        _check(path, "md5", config.md5, md5)
    return ModuleSource(path, wasm, sha256)


def _check(path: Path, algorithm: str, pinned: str | None, found: str) -> None:
    if pinned is not None and pinned != found:
        raise PluginLoadError(
            f"the module {path} has {algorithm} {found}, but {pinned} is pinned; "
            "pin the new checksum if the change is meant"
        )
