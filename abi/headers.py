"""Headers and trailers as guests see them: an ordered multimap of lower-case names.

Where there was a compiler at installation, `_headers.h` does the same in the class's place; what is
unusual there (a pair that is none, or not of bytes) it has the class below do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, final

from anywasm.abi.native import native
from anywasm.abi.pairs import Pair


@final
class HeaderMap:
    """An ordered multimap. Names are lower-case; order and duplicates are kept, as Envoy does.

    Attributes:
        pairs: The headers in order, pseudo headers (`:path`) first. Read it freely; change the map
            through its methods.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self.pairs: list[Pair] = list(pairs)

    def get(self, name: bytes) -> bytes | None:
        """The first value of `name` (any case), or None."""
        name = name.lower()
        for key, value in self.pairs:
            if key == name:
                return value
        return None

    def add(self, name: bytes, value: bytes) -> None:
        """Append a header; a pseudo header goes before the regular ones."""
        pair = (name.lower(), value)
        if name[:1] == b":":
            self.pairs.insert(_pseudo_end(self.pairs), pair)
        else:
            self.pairs.append(pair)

    def replace(self, name: bytes, value: bytes) -> None:
        """Set the first `name` and drop its repetitions; add it where there is none."""
        name = name.lower()
        for index, (key, _) in enumerate(self.pairs):
            if key == name:
                rest = [pair for pair in self.pairs[index + 1 :] if pair[0] != name]
                self.pairs[index:] = [(name, value), *rest]
                return
        self.add(name, value)

    def remove(self, name: bytes) -> None:
        """Drop every `name`; nothing happens where there is none."""
        name = name.lower()
        pairs = [pair for pair in self.pairs if pair[0] != name]
        if len(pairs) != len(self.pairs):
            self.pairs = pairs

    def set_pairs(self, pairs: Iterable[Pair]) -> None:
        """Replace the whole map."""
        self.pairs = []
        for name, value in pairs:
            self.add(name, value)

    @property
    def byte_size(self) -> int:
        """The bytes of all names and values, as Envoy counts a map's size."""
        return sum(len(name) + len(value) for name, value in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"HeaderMap({self.pairs!r})"


def _pseudo_end(pairs: list[Pair]) -> int:
    for index, (key, _) in enumerate(pairs):
        if key[:1] != b":":
            return index
    return len(pairs)


#: The class in Python, also where the extension's has its place.
PythonHeaderMap = HeaderMap
if not TYPE_CHECKING and native is not None:
    HeaderMap = native.HeaderMap
