"""JSON, as strict as RFC 8259, with the line of each value."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from anywasm.core.errors import ConfigError
from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.config.yaml_text import MAX_DEPTH, TOO_DEEP

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def read_json(text: str) -> list[tuple[Any, dict[KeyPath, int]]]:
    """The value, unless it is null, and the line of each value in it: none, or one.

    Raises:
        ConfigError: `LINE: ` and what is wrong.
    """
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{error.lineno}: not valid JSON: {error.msg}") from None
    except ValueError as error:
        raise ConfigError(f"1: not valid JSON: {error}") from None
    except RecursionError:
        raise ConfigError(f"1: {TOO_DEEP}") from None
    return [] if data is None else [(data, _Lines(text).lines)]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class _Lines:
    """Walks the tokens of a text that is known to be JSON."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, int]] = []
        self._next = 0
        self.lines: dict[KeyPath, int] = {}
        line, end = 1, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", end, match.start())
            end = match.start()
            self._tokens.append((match[0], line))
        self._value(())

    def _take(self) -> tuple[str, int]:
        self._next += 1
        return self._tokens[self._next - 1]

    def _value(self, path: KeyPath) -> None:
        token, line = self._take()
        if len(path) > MAX_DEPTH:
            raise ConfigError(f"{line}: {TOO_DEEP}")
        if token == "{":
            self._members(path)
        elif token == "[":
            self._items(path)

    def _members(self, path: KeyPath) -> None:
        token, line = self._take()
        while token != "}":
            if token == ",":
                token, line = self._take()
            key = json.loads(token)
            here = (*path, key)
            if here in self.lines:
                first = self.lines[here]
                raise ConfigError(f'{line}: key "{key}" is there already, on line {first}')
            self.lines[here] = line
            self._take()
            self._value(here)
            token, line = self._take()

    def _items(self, path: KeyPath) -> None:
        index = 0
        while self._tokens[self._next][0] != "]":
            if self._tokens[self._next][0] == ",":
                self._take()
            here = (*path, index)
            self.lines[here] = self._tokens[self._next][1]
            self._value(here)
            index += 1
        self._take()
