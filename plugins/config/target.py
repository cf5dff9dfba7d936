"""One part of the project's own schema in the making."""

from __future__ import annotations

from typing import Any

from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.config.translation import Translation


class Target:
    """Values by their own keys, each with the place in the file that it came from.

    Args:
        translation: That this is a part of.
        path: Where in `translation.data` this will stand.
        origin: Where in the file it came from.

    Attributes:
        data: What is to be put there, by the caller.
        path: Where.
    """

    def __init__(self, translation: Translation, path: KeyPath, origin: KeyPath) -> None:
        self.data: dict[str, Any] = {}
        self.path = path
        self._translation = translation
        translation.map(path, origin)

    def set(self, key: str, value: object, origin: KeyPath) -> None:
        """Set one key, unless the value is None, which stands for the default."""
        if value is not None:
            self.data[key] = value
            self._translation.map((*self.path, key), origin)

    def below(self, key: str, origin: KeyPath) -> Target:
        """The mapping under a key, which is made here."""
        target = Target(self._translation, (*self.path, key), origin)
        self.data[key] = target.data
        return target
