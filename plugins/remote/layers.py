"""The module in an image, in each of the layouts that are in use.

A single layer that is the module (with Wasm's own configuration type, or any other); the same with
further layers of documentation (Higress); and a file system in a tar archive, compressed or not,
with the module as `plugin.wasm` in it (Docker builds, `FROM scratch`).
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from anywasm.plugins.errors import PluginLoadError

_WASM = b"\0asm"
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
#: Layers of these endings are about the module.
_ABOUT = ("+yaml", "+json", "+markdown", "+text", "/markdown", "+toto")
_NAME = "plugin.wasm"


def find_module(layers: Sequence[Any], read: Callable[[Any], bytes], max_bytes: int) -> bytes:
    """The module among an image's layers.

    What a layer is, its content says: media types are used in too many ways.

    Args:
        layers: The descriptors of the layers.
        read: Fetches and checks one.
        max_bytes: What the module may be at most.

    Raises:
        PluginLoadError: When there is none.
    """
    told: list[str] = []
    topmost_first = list(reversed(layers))
    # What is called WebAssembly comes before all others.
    for layer in sorted(topmost_first, key=lambda item: "wasm" not in _type(item)):
        kind = _type(layer)
        if kind.endswith(_ABOUT):
            continue
        content = read(layer)
        if content.startswith(_WASM):
            return content
        if content.startswith(_ZSTD):
            told.append(f"{kind}: zstd is not served, build with gzip")
            continue
        try:
            module = _untar(content, max_bytes)
        except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
            told.append(f"{kind}: neither a module nor an archive ({error})")
            continue
        if module is not None:
            return module
        told.append(f"{kind}: has no {_NAME}")
    raise PluginLoadError(f"the image has no module; its layers: {'; '.join(told) or 'none'}")


def _type(layer: Any) -> str:
    return str(layer.get("mediaType", ""))


class _Bounded(io.RawIOBase):
    """A stream that gives no more than it may: archives can be bombs."""

    def __init__(self, stream: io.BufferedIOBase, left: int) -> None:
        self._stream = stream
        self._left = left

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size if 0 <= size <= self._left else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise PluginLoadError(
                "a layer's archive is larger than twice fetch.max_bytes; raise it if that is meant"
            )
        return data


def _untar(content: bytes, max_bytes: int) -> bytes | None:
    """`plugin.wasm` of an archive, or its only file that is called like a module."""
    packed = io.BytesIO(content)
    stream = gzip.GzipFile(fileobj=packed) if content.startswith(_GZIP) else packed
    found: dict[str, bytes] = {}
    bounded: Any = _Bounded(stream, 2 * max_bytes)
    with tarfile.open(fileobj=bounded, mode="r|") as archive:
        for member in archive:
            name = member.name.removeprefix("./").removeprefix("/")
            if not member.isfile() or not name.endswith(".wasm"):
                continue
            if member.size > max_bytes:
                raise PluginLoadError(f"{name} in the image is larger than fetch.max_bytes")
            file = archive.extractfile(member)
            assert file is not None
            found[name] = file.read()
    if _NAME in found:
        return found[_NAME]
    return next(iter(found.values())) if len(found) == 1 else None
