"""Compiled modules on disk, so that the next process need not compile them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import mmap
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywasm.core.artifact import artifact_identity, read_artifact_head
from anywasm.core.errors import AnyWasmError, CompileError
from anywasm.core.module import Module
from anywasm.core.vm import VM

#: Names the folder; set to nothing, nothing is cached.
CACHE_DIR = "ANYWASM_CACHE_DIR"
#: Bytes that the entries may take together before the least recently used ones go.
MAX_BYTES = 2 << 30

_SUFFIX = ".artifact"
#: A file that was being written when its process died is removed after this many seconds.
_ABANDONED = 3600.0

_log = logging.getLogger("anywasm.cache")


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One artifact in the cache.

    Attributes:
        path: The file.
        size: Its bytes.
        used: When it was last loaded or written, in seconds since 1970.
        engine: Whose it is, or None for a file that is no artifact.
        version: The engine's version and options.
        usable: Whether this kind of machine can load it.
    """

    path: Path
    size: int
    used: float
    engine: str | None
    version: str
    usable: bool

    @property
    def wasm_sha256(self) -> str:
        """The checksum of the module that it was compiled from."""
        return self.path.name.partition(".")[0]


def default_cache_folder() -> Path | None:
    """`$ANYWASM_CACHE_DIR`, else `anywasm/artifacts` in the user's cache folder.

    Returns:
        None where caching is switched off, or the user has no folder for it.
    """
    chosen = os.environ.get(CACHE_DIR)
    if chosen is not None:
        return Path(chosen) if chosen else None
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "anywasm" / "artifacts"
    except RuntimeError:
        return None


class ArtifactCache:
    """A folder of artifacts, by module, engine, version, options and processor. Thread-safe.

    Many processes may share it: entries are written beside their place and moved there whole, and
    are never changed. Engines run them as native code, so the folder is used only when nobody but
    its owner, who must be this process's user, can write to it. A damaged or foreign entry is
    compiled anew and replaced, never trusted. Nothing here fails because of the cache: where it
    cannot be used, a warning is logged and modules are compiled.

    Args:
        folder: Where; made when first written to.
        max_bytes: What the entries may take together; the least recently used go first.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._refused = False

    def load(self, vm: VM, wasm_sha256: str) -> Module | None:
        """The module, loaded from its artifact, or None when there is none that can be used."""
        if not vm.capabilities.serialize:
            return None
        path = self._path(vm, wasm_sha256)
        try:
            if not self._trusted() or not self._ours(path):
                return None
            module = vm.load_file(path)
            os.utime(path)
        except FileNotFoundError:
            return None
        except (AnyWasmError, OSError) as error:
            _log.warning("cached artifact %s is not used, and made anew: %s", path, error)
            return None
        return module

    def may_have(self, wasm_sha256: str) -> bool:
        """Whether there is an entry of that module for any engine; for whoever has none loaded."""
        return any(path.name.startswith(f"{wasm_sha256}.") for path in self._files())

    def store(self, vm: VM, wasm_sha256: str, module: Module | bytes) -> None:
        """Keep what was compiled, where the engine can serialize it, or its artifact."""
        if not vm.capabilities.serialize:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._trusted():
                return
            artifact = module.serialize() if isinstance(module, Module) else module
            handle, partial = tempfile.mkstemp(dir=self.folder)
            try:
                with open(handle, "wb") as file:
                    file.write(artifact)
                os.replace(partial, self._path(vm, wasm_sha256))
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(partial)
                raise
            self.prune(max_bytes=self._max_bytes)
        except (AnyWasmError, OSError) as error:
            _log.warning("a compiled module cannot be kept in %s: %s", self.folder, error)

    def entries(self) -> list[CacheEntry]:
        """What is there, the most recently used first."""
        found = [_entry(path) for path in self._files() if path.name.endswith(_SUFFIX)]
        return sorted(filter(None, found), key=lambda entry: entry.used, reverse=True)

    def prune(
        self, *, max_bytes: int | None = None, max_age: float | None = None, unusable: bool = False
    ) -> list[CacheEntry]:
        """Remove entries, and what dying processes left half-written. Others keep what they loaded.

        Args:
            max_bytes: Remove the least recently used ones until the rest takes no more than this.
            max_age: Remove those that were not used for so many seconds.
            unusable: Remove those that this kind of machine cannot load.

        Returns:
            The entries that were removed.
        """
        now = time.time()
        removed = []
        kept = 0
        for entry in self.entries():
            kept += entry.size
            too_much = max_bytes is not None and kept > max_bytes
            too_old = max_age is not None and now - entry.used > max_age
            if too_much or too_old or (unusable and not entry.usable):
                kept -= entry.size
                with contextlib.suppress(OSError):
                    entry.path.unlink()
                    removed.append(entry)
        for path in self._files():
            with contextlib.suppress(OSError):
                if not path.name.endswith(_SUFFIX) and now - path.stat().st_mtime > _ABANDONED:
                    path.unlink()
        return removed

    def _files(self) -> Iterable[Path]:
        try:
            return [path for path in self.folder.iterdir() if path.is_file()]
        except OSError:
            return []

    def _path(self, vm: VM, wasm_sha256: str) -> Path:
        identity = json.dumps(artifact_identity(vm.name, vm.artifact_version), sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        return self.folder / f"{wasm_sha256}.{digest}{_SUFFIX}"

    def _trusted(self) -> bool:
        """Whether nobody else can write to the folder; says once when somebody can."""
        found = os.stat(self.folder)
        if stat.S_ISDIR(found.st_mode) and _private(found):
            return True
        if not self._refused:
            self._refused = True
            _log.warning(
                "compiled modules are not cached: %s can be written to by others; "
                "`chmod 700` it, or name another folder in %s",
                self.folder,
                CACHE_DIR,
            )
        return False

    def _ours(self, path: Path) -> bool:
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode) and _private(found):
            return True
        raise CompileError("it is no file of this user alone")


def default_cache() -> ArtifactCache | None:
    """The cache in `default_cache_folder`, or None where there is none."""
    folder = default_cache_folder()
    return None if folder is None else ArtifactCache(folder)


def _private(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _entry(path: Path) -> CacheEntry | None:
    head: dict[str, Any] = {}
    try:
        found = path.stat()
        with (
            open(path, "rb") as file,
            contextlib.suppress(CompileError, ValueError),
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            memoryview(data) as view,
        ):
            head = read_artifact_head(view)[0]
    except OSError:
        return None
    engine, version = head.get("engine"), head.get("version", "")
    usable = engine is not None and all(
        head[key] == value for key, value in artifact_identity(engine, version).items()
    )
    return CacheEntry(path, found.st_size, found.st_mtime, engine, version, usable)
