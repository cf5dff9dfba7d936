"""Fetched modules on disk, so that the next start needs no network."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from anywasm.core.artifact_cache import default_cache_folder

_log = logging.getLogger("anywasm.plugins")

#: Bytes that the modules may take together before the least recently used ones go.
MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was fetched from a place, and by what the server knows it.

    Attributes:
        sha256: The module's checksum.
        etag: The HTTP validator, or None.
        last_modified: The older one, or None.
        image: The digest of the image that it was in, or None.
    """

    sha256: str
    etag: str | None = None
    last_modified: str | None = None
    image: str | None = None


class ModuleStore:
    """A folder of modules by checksum, and of places where they were found.

    Many processes may share it: files are written beside their place and moved there whole. A
    module is checked against its checksum each time it is read, so a damaged one counts as none. A
    folder that others can write to is not used. Nothing fails because of the store.

    Args:
        folder: Where; made when first written to. None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @classmethod
    def default(cls) -> ModuleStore:
        """In the folder `modules` beside the compiled ones."""
        folder = default_cache_folder()
        return cls(None if folder is None else folder / "modules")

    def find(self, place: str) -> tuple[Fetched, bytes] | None:
        """What was fetched last from `place`."""
        if not self._usable():
            return None
        try:
            fetched = Fetched(**json.loads(self._note(place).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        wasm = self.module(fetched.sha256)
        return None if wasm is None else (fetched, wasm)

    def module(self, sha256: str) -> bytes | None:
        """The module with that checksum."""
        if not self._usable():
            return None
        path = self._path(sha256)
        try:
            wasm = path.read_bytes()
            if hashlib.sha256(wasm).hexdigest() == sha256:
                os.utime(path)
                return wasm
            _log.warning("%s is damaged, and fetched anew", path)
            path.unlink(missing_ok=True)
        except OSError:
            pass
        return None

    def keep(self, place: str, fetched: Fetched, wasm: bytes) -> None:
        """Note what was fetched from `place`."""
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._usable():
                self._write(self._path(fetched.sha256), wasm)
                self._write(self._note(place), json.dumps(asdict(fetched)).encode())
                self._prune()
        except OSError as error:
            _log.warning("a fetched module cannot be kept in %s: %s", self._folder, error)

    def _write(self, path: Path, data: bytes) -> None:
        handle, partial = tempfile.mkstemp(dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise

    def _prune(self) -> None:
        assert self._folder is not None
        kept = 0
        files = [(path, path.stat()) for path in self._folder.glob("*.wasm")]
        for path, found in sorted(files, key=lambda item: -item[1].st_mtime):
            kept += found.st_size
            if kept > MAX_BYTES:
                path.unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{sha256}.wasm"

    def _note(self, place: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{hashlib.sha256(place.encode()).hexdigest()}.json"

    def _usable(self) -> bool:
        """Whether there is a folder that nobody else can write to."""
        if self._folder is None:
            return False
        try:
            found = os.stat(self._folder)
        except OSError:
            return False
        private = found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not private:
            _log.warning("modules are not kept: %s can be written to by others", self._folder)
        return private
