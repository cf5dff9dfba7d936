"""Where a case's module is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from anywasm.core.errors import AnyWasmError, ConfigError
from anywasm.testing.golden.case import Case


class GuestNotFoundError(AnyWasmError):
    """The module of a case is not on this machine."""


class GuestFinder:
    """Finds modules beside the cases, or in unpacked wheels.

    Args:
        wheels: A folder below which wheels are unpacked, or None.

    Raises:
        ConfigError: When there is no such folder.
    """

    def __init__(self, wheels: Path | None = None) -> None:
        if wheels is not None and not wheels.is_dir():
            raise ConfigError(f"{wheels}: no such folder of unpacked wheels")
        self._wheels = wheels
        self._modules: dict[str, list[Path]] | None = None

    def find(self, case: Case, folder: Path) -> Path:
        """The module of `case`.

        Args:
            case: The case.
            folder: Where the case's file is; its guests are there, or beside that folder.

        Raises:
            GuestNotFoundError: When it is nowhere, or only with another checksum.
        """
        relative = PurePosixPath(case.wasm)
        if relative.is_absolute() or ".." in relative.parts:
            raise ConfigError(f"case {case.id!r}: wasm must be a path inside a folder")
        others = 0
        for path in self._candidates(case, folder):
            if case.sha256 is None or _sha256(path) == case.sha256.lower():
                return path
            others += 1
        what = f"{case.package}: {case.wasm}" if case.package else case.wasm
        if others:
            raise GuestNotFoundError(f"{what}: found, but not with sha256 {case.sha256}")
        if case.package and self._wheels is None:
            raise GuestNotFoundError(f"{what}: unpack the wheel and name its folder with --wheels")
        raise GuestNotFoundError(f"{what}: not found")

    def modules(self) -> Iterator[Path]:
        """All modules in the wheels."""
        for paths in self._index().values():
            yield from paths

    def _candidates(self, case: Case, folder: Path) -> Iterator[Path]:
        for place in (folder, folder.parent):
            if (path := place / case.wasm).is_file():
                yield path
        relative = PurePosixPath(case.wasm)
        for path in self._index().get(relative.name, ()):
            if path.parts[-len(relative.parts) :] == relative.parts:
                yield path

    def _index(self) -> dict[str, list[Path]]:
        """The modules in the wheels, by file name: looked for once, since wheels can be large."""
        if self._modules is None:
            self._modules = {}
            if self._wheels is not None:
                for path in sorted(self._wheels.rglob("*.wasm")):
                    self._modules.setdefault(path.name, []).append(path)
        return self._modules


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
