"""A YAML or JSON file, read strictly, that remembers on which line each value stands."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywasm.core.errors import ConfigError
from anywasm.plugins.config.json_text import read_json
from anywasm.plugins.config.model import KeyPath, Problem, key_path_text
from anywasm.plugins.config.yaml_text import read_yaml

#: The largest file that is read, in bytes.
MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, or one of the documents in a YAML file, and where.

    Attributes:
        path: The file, as it was named; None for what was never in a file.
        data: Its content: a mapping.
        lines: The line, from 1, of each value.
    """

    path: Path | None
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]

    @property
    def folder(self) -> Path | None:
        """Where relative paths start; None for the working directory."""
        return None if self.path is None else self.path.absolute().parent

    def line(self, key_path: KeyPath) -> int:
        """The line of a value; of what should hold it where the value itself is missing."""
        known = key_path
        while known and known not in self.lines:
            known = known[:-1]
        return self.lines.get(known, 1)

    def place(self, key_path: KeyPath) -> str:
        """`FILE:LINE: `, to begin a message about a value with; empty without a file."""
        return "" if self.path is None else f"{self.path}:{self.line(key_path)}: "

    def describe(self, key_path: KeyPath, message: str) -> str:
        """One line that names file, line, key path and what is wrong there."""
        text = key_path_text(key_path)
        return f"{self.place(key_path)}{text}: {message}" if text else self.place(()) + message

    def describe_all(self, problems: Iterable[Problem]) -> tuple[str, ...]:
        """One line for each problem, from the top of the file down."""
        ordered = sorted(problems, key=lambda problem: self.line(problem[0]))
        return tuple(self.describe(key_path, message) for key_path, message in ordered)


def read_documents(path: Path) -> tuple[Document, ...]:
    """Read a file: JSON when its name ends in `.json` or its text starts with `{`, else YAML.

    A YAML file may hold several documents, separated by `---`; there is at least one.

    Raises:
        ConfigError: When it cannot be read, is not UTF-8, empty, malformed, says a key twice, or
            is no mapping.
    """
    text = _read_text(path)
    if not text.strip():
        raise ConfigError(f"{path}: the file is empty")
    is_json = path.suffix.lower() == ".json" or text.lstrip().startswith("{")
    try:
        contents = read_json(text) if is_json else read_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"{path}:{error}") from error.__cause__
    if not contents:
        raise ConfigError(f"{path}: the file holds no values")
    for data, lines in contents:
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{path}: an escape such as \\ud800 is half a character") from None
        if not isinstance(data, dict):
            line = lines.get((), 1)
            raise ConfigError(
                f"{path}:{line}: the top level must be a mapping, such as `listeners: ...`"
            )
    return tuple(Document(path, data, lines) for data, lines in contents)


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder, not a configuration file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than {MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text") from None
