"""A mapping of another program's configuration, each of whose keys must be accounted for."""

from __future__ import annotations

import re
from typing import Any

from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.config.translation import Translation

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


class Block:
    """A protobuf message as YAML or JSON: keys in snake_case or in camelCase.

    Each key is asked for by its snake_case name. What nobody has asked for is a problem when the
    block is closed, since it might change the meaning of the rest.

    Args:
        translation: Where problems and notices go.
        value: The mapping; null is an empty one, anything else a problem.
        path: Where it stands.
    """

    def __init__(self, translation: Translation, value: object, path: KeyPath) -> None:
        self.translation = translation
        self.path = path
        self._values: dict[str, tuple[str, Any]] = {}
        for key, item in translation.mapping(value, path).items():
            name = _HUMP.sub(r"_\1", key).lower() if "@" not in key else key
            if name in self._values:
                translation.problem((*path, key), f'is there already, as "{self._values[name][0]}"')
            self._values[name] = (key, item)
        self._asked: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return self._values.get(name, ("", None))[1] is not None

    def value(self, name: str) -> Any:
        """The value, or None."""
        self._asked.add(name)
        return self._values.get(name, ("", None))[1]

    def place(self, name: str) -> KeyPath:
        """Where the value stands, as it is spelled there."""
        return (*self.path, self._values.get(name, (name, None))[0])

    def block(self, name: str) -> Block:
        """The mapping under a key; an empty one where there is none."""
        return Block(self.translation, self.value(name), self.place(name))

    def blocks(self, name: str) -> list[Block]:
        """The mappings in the list under a key."""
        items = self.translation.mappings(self.value(name), self.place(name))
        return [Block(self.translation, item, path) for path, item in items]

    def text(self, name: str) -> str:
        """The text under a key; empty where there is none."""
        return self.translation.text(self.value(name), self.place(name))

    def choice(self, name: str) -> str:
        """The name of an enum's value in capitals, as protobuf takes both; empty: none."""
        return self.text(name).upper()

    def switch(self, name: str) -> bool | None:
        """The boolean under a key, also as `{value: true}`; None where there is none."""
        value = self.value(name)
        if isinstance(value, dict) and set(value) == {"value"}:
            value = value["value"]
        if value is None or isinstance(value, bool):
            return value
        self.problem(name, "must be true or false")
        return None

    def number(self, name: str) -> int | None:
        """The whole number under a key, also as `{value: 1}`; None where there is none."""
        value = self.value(name)
        if isinstance(value, dict) and set(value) == {"value"}:
            value = value["value"]
        return None if value is None else self.translation.number(value, self.place(name))

    def problem(self, name: str, message: str) -> None:
        """Note what makes the file unusable."""
        self.translation.problem(self.place(name), message)

    def notice(self, name: str, message: str) -> None:
        """Note what has no effect, or another than it seems."""
        self.translation.notice(self.place(name), message)

    def skip(self, *names: str) -> None:
        """Account for keys that need nothing done."""
        self._asked.update(names)

    def ignore(self, *names: str) -> None:
        """Account for keys that have no effect here, and say so."""
        for name in names:
            if name in self:
                self.notice(name, "has no effect here")
        self._asked.update(names)

    def close(self) -> None:
        """Refuse whatever nobody has asked for."""
        for name, (key, value) in self._values.items():
            if name not in self._asked and value is not None:
                known = ", ".join(sorted(self._asked))
                self.translation.problem(
                    (*self.path, key), f"is not known, or not served; understood here: {known}"
                )
