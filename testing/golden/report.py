"""Results of cases as text and as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from anywasm.testing.golden.runner import CaseResult, Outcome


def table(results: Sequence[CaseResult]) -> Iterator[str]:
    """A line for each case, with a column for each engine."""
    engines = list(dict.fromkeys(result.engine for result in results))
    cells: dict[str, dict[str, str]] = {}
    for result in results:
        cells.setdefault(result.case, {})[result.engine] = str(result.outcome)
    width = max(len("case"), *(len(case) for case in cells))
    columns = {
        name: max(len(name), *(len(str(outcome)) for outcome in Outcome)) for name in engines
    }
    head = "  ".join(name.ljust(columns[name]) for name in engines)
    yield f"{'case':<{width}}  {head}".rstrip()
    for case, outcomes in cells.items():
        row = "  ".join(outcomes.get(name, "").ljust(columns[name]) for name in engines)
        yield f"{case:<{width}}  {row}".rstrip()


def details(result: CaseResult) -> Iterator[str]:
    """Why a case is not ok: the reason, or the diff of each step that differs."""
    if result.outcome is Outcome.OK:
        return
    yield f"{result.case} on {result.engine}: {result.outcome}" + (
        f": {result.reason}" if result.reason else ""
    )
    for title, lines in result.differences:
        yield f"  {title}"
        yield from (f"    {line}" for line in lines)


def summary(results: Sequence[CaseResult]) -> str:
    """How many results there are of each outcome."""
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{outcome}: {counts[outcome]}" for outcome in Outcome if counts[outcome])


def data(results: Sequence[CaseResult]) -> list[dict[str, Any]]:
    """Everything, for programs."""
    return [
        {
            "case": result.case,
            "engine": result.engine,
            "outcome": result.outcome.value,
            "reason": result.reason,
            "seconds": round(result.seconds, 3),
            "differences": [
                {"step": title, "lines": list(lines)} for title, lines in result.differences
            ],
        }
        for result in results
    ]
