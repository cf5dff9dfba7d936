"""What a run found, as data, as Markdown and in totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from anywasm.testing.conformance.known import KnownFailures, News
from anywasm.testing.conformance.result import Result, Status
from anywasm.testing.conformance.suite import Script

#: The row of all proposals together.
TOTAL = "total"


@dataclass
class Report:
    """Collects results.

    Attributes:
        versions: The engines' versions, by name.
        converter: What read the scripts.
        known: The failures that are known.
        news: What was not expected.
        unreadable: The scripts that the converter cannot read, with its words.
    """

    versions: Mapping[str, str]
    converter: str
    known: KnownFailures
    news: list[News] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, dict[str, Counter[Status]]] = field(default_factory=dict)
    _causes: dict[str, Counter[str]] = field(default_factory=dict)
    _failures: dict[str, dict[str, list[Result]]] = field(default_factory=dict)

    def add(self, engine: str, script: Script, results: Sequence[Result]) -> None:
        """Take in one script's results on one engine."""
        rows = self._counts.setdefault(engine, {})
        causes = self._causes.setdefault(engine, Counter())
        for name in (script.proposal, TOTAL):
            counts = rows.setdefault(name, Counter())
            counts.update(result.status for result in results)
        for result in results:
            if result.status is Status.FAILED:
                line = result.cause or result.line
                causes[self.known.cause(engine, script, line) or "not known"] += 1
                self._failures.setdefault(engine, {}).setdefault(script.name, []).append(result)
        self.news.extend(self.known.news(engine, script, results))

    @property
    def as_expected(self) -> bool:
        """Whether nothing failed or passed that should not have, and all could be read."""
        return not self.news and not self.unreadable

    def proposals(self) -> list[str]:
        """The rows, the total last."""
        names = {name for rows in self._counts.values() for name in rows}
        return sorted(names, key=lambda name: (name == TOTAL, name != "core", name))

    def cell(self, engine: str, proposal: str) -> tuple[int, int, int]:
        """Passed, failed, unsupported."""
        counts = self._counts.get(engine, {}).get(proposal, Counter())
        return counts[Status.PASSED], counts[Status.FAILED], counts[Status.UNSUPPORTED]

    def totals(self) -> dict[str, Any]:
        """What each engine passed, without what it did not: a small part of `data`."""
        return {
            engine: {
                "version": version,
                "converter": self.converter,
                "proposals": {
                    name: dict(zip(map(str, Status), self.cell(engine, name)))
                    for name in self.proposals()
                },
            }
            for engine, version in self.versions.items()
        }

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "as_expected": self.as_expected,
            "engines": {
                engine: {
                    **totals,
                    "causes": dict(self._causes.get(engine, Counter()).most_common()),
                    "failures": {
                        script: [result.data() for result in results]
                        for script, results in self._failures.get(engine, {}).items()
                    },
                }
                for engine, totals in self.totals().items()
            },
            "unexpected": [str(item) for item in self.news],
            "unreadable": self.unreadable,
        }

    def markdown(self) -> str:
        """As a table, and the causes of failures below it."""
        heads = [f"{engine} {version}" for engine, version in self.versions.items()]
        lines = [
            f"| passed / failed / unsupported | {' | '.join(heads)} |",
            f"|---|{'---|' * len(heads)}",
        ]
        for name in self.proposals():
            cells = (" / ".join(map(str, self.cell(engine, name))) for engine in self.versions)
            lines.append(f"| {name} | {' | '.join(cells)} |")
        for engine in self.versions:
            causes = self._causes.get(engine)
            if causes:
                lines += ["", f"What {engine} fails:", "", "| failures | cause |", "|---|---|"]
                lines += [f"| {count} | {cause} |" for cause, count in causes.most_common()]
        return "\n".join(lines) + "\n"
