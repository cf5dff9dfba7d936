"""What a translation gathers, and readers that note what has the wrong type."""

from __future__ import annotations

from typing import Any

from anywasm.plugins.config.model import KeyPath, Problem


class Translation:
    """The project's own schema in the making.

    Args:
        root: The key path in the file of what came from nowhere in particular.

    Attributes:
        data: What is validated as the project's own schema.
        problems: What makes the file unusable, with key paths in the file.
        notices: What the file says without effect, with key paths in the file.
    """

    def __init__(self, root: KeyPath = ()) -> None:
        self.data: dict[str, Any] = {
            "listeners": [],
            "plugins": [],
            "clusters": [],
            "state_stores": {},
        }
        self.problems: list[Problem] = []
        self.notices: list[Problem] = []
        self._origins: dict[KeyPath, KeyPath] = {(): root}

    def map(self, own: KeyPath, origin: KeyPath) -> None:
        """Note that what stands under `own` came from under `origin`."""
        self._origins[own] = origin

    def origin(self, own: KeyPath) -> KeyPath:
        """The key path in the file that a key path in `data` came from."""
        for length in range(len(own), -1, -1):
            origin = self._origins.get(own[:length])
            if origin is not None:
                return origin + own[length:] if length else origin
        return ()

    def problem(self, path: KeyPath, message: str) -> None:
        """Note what makes the file unusable."""
        self.problems.append((path, message))

    def notice(self, path: KeyPath, message: str) -> None:
        """Note what has no effect, or another than it seems; the same is said once."""
        said = (path[-1:], message)
        if all(said != (known[-1:], other) for known, other in self.notices):
            self.notices.append((path, message))

    def mapping(self, value: object, path: KeyPath) -> dict[str, Any]:
        """The value when it is a mapping; nothing for null, as in Go; else a problem."""
        if isinstance(value, dict):
            return value
        if value is not None:
            self.problem(path, "must be a mapping")
        return {}

    def mappings(self, value: object, path: KeyPath) -> list[tuple[KeyPath, dict[str, Any]]]:
        """The value when it is a list of mappings; nothing for null; else problems."""
        if value is not None and not isinstance(value, list):
            self.problem(path, "must be a list")
        items = value if isinstance(value, list) else []
        return [
            ((*path, index), self.mapping(item, (*path, index))) for index, item in enumerate(items)
        ]

    def text(self, value: object, path: KeyPath) -> str:
        """The value when it is text; nothing for null; else a problem."""
        if isinstance(value, str):
            return value
        if value is not None:
            self.problem(path, "must be text")
        return ""

    def number(self, value: object, path: KeyPath) -> int:
        """The value when it is a whole number; 0 for null; else a problem."""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is not None:
            self.problem(path, "must be a whole number")
        return 0
