"""Failures that are known, with their causes: whatever else fails, or passes, is news."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywasm.core.errors import ConfigError
from anywasm.testing.conformance.result import Result, Status
from anywasm.testing.conformance.suite import Script

#: What is known of the built-in engines.
BUILT_IN = Path(__file__).with_name("known.json")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an engine fails.

    Attributes:
        engine: Its name.
        cause: What is wrong with it.
        scripts: For each script's digest, the lines that fail for this reason.
    """

    engine: str
    cause: str
    scripts: dict[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class News:
    """What was not expected.

    Attributes:
        engine: The engine's name.
        script: The script's name.
        result: What came instead.
    """

    engine: str
    script: str
    result: Result

    def __str__(self) -> str:
        result = self.result
        if result.status is Status.FAILED:
            said = f"unexpected failure: {result.reason}"
        else:
            said = f"unexpectedly {result.status}: a known failure that is none"
        return f"{self.engine}: {self.script}:{result.line}: {result.kind}: {said}"


class KnownFailures:
    """All causes that were listed."""

    def __init__(self, causes: Iterable[Cause] = ()) -> None:
        self._causes = tuple(causes)

    def cause(self, engine: str, script: Script, line: int) -> str | None:
        """Why a line of a script fails on an engine, None where it should not."""
        for cause in self._causes:
            if cause.engine == engine and line in cause.scripts.get(script.digest, ()):
                return cause.cause
        return None

    def news(self, engine: str, script: Script, results: Sequence[Result]) -> Iterator[News]:
        """What did not come as it was listed; once for a module, not for all that needs it."""
        for result in results:
            if result.cause is not None:
                continue
            known = self.cause(engine, script, result.line) is not None
            if known is not (result.status is Status.FAILED):
                yield News(engine, script.name, result)

    def __add__(self, other: KnownFailures) -> KnownFailures:
        return KnownFailures(self._causes + other._causes)


def read_known(path: Path = BUILT_IN) -> KnownFailures:
    """Read a list: `{"engines": {NAME: [{"cause": TEXT, "scripts": {NAME: {DIGEST: LINES}}}]}}`.

    Lines are counted in the one version of a script that has the digest, the first 16 digits of
    its SHA-256; another version has no known failures. `"LINES"` are numbers and ranges, such as
    `"5 7-9"`.

    Raises:
        ConfigError: When the file is no such list.
    """
    try:
        data = json.loads(path.read_text())
        return KnownFailures(
            Cause(engine, item["cause"], _scripts(item["scripts"]))
            for engine, items in data["engines"].items()
            for item in items
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is no list of known failures: {error!r}") from error


def _scripts(listed: dict[str, dict[str, str]]) -> dict[str, frozenset[int]]:
    return {
        digest: frozenset(_lines(lines))
        for versions in listed.values()
        for digest, lines in versions.items()
    }


def _lines(text: str) -> Iterator[int]:
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def write_lines(lines: Iterable[int]) -> str:
    """Lines as a list has them."""
    parts: list[list[int]] = []
    for line in sorted(set(lines)):
        if parts and line == parts[-1][1] + 1:
            parts[-1][1] = line
        else:
            parts.append([line, line])
    return " ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


def listing(engine: str, cause: str, found: Iterable[tuple[Script, int]]) -> dict[str, Any]:
    """Failures as a list has them, for whoever begins one."""
    scripts: dict[Script, list[int]] = {}
    for script, line in found:
        scripts.setdefault(script, []).append(line)
    named = {item.name: {item.digest: write_lines(lines)} for item, lines in scripts.items()}
    return {"engines": {engine: [{"cause": cause, "scripts": named}]}}
