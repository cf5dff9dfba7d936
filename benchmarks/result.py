"""What was measured, and where."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")),
    "bytes": ((1024.0**2, "MiB"), (1024.0, "KiB"), (1.0, "B")),
    "requests/s": ((1.0, "requests/s"),),
}


@dataclass(frozen=True, slots=True)
class Result:
    """One case with one subject.

    Attributes:
        group: The benchmark module, without `bench_`.
        case: What was done.
        subject: By whom: an engine's name, the name and ` binding` for its own Python API, or what
            it is compared with.
        unit: `s`, `bytes` or `requests/s`.
        median: The median of all rounds.
        iqr: Their interquartile range, of turns where there were several; 0 for a single round.
        best: The best round.
        rounds: How many rounds there were.
    """

    group: str
    case: str
    subject: str
    unit: str
    median: float
    iqr: float
    best: float
    rounds: int

    @property
    def more_is_better(self) -> bool:
        """Whether larger values are better."""
        return self.unit == "requests/s"


def summarize(group: str, case: str, subject: str, unit: str, values: Sequence[float]) -> Result:
    """A result from the values of single rounds, at least one."""
    low, _, high = statistics.quantiles(values, method="inclusive") if values[1:] else (0, 0, 0)
    best = max(values) if unit == "requests/s" else min(values)
    median = statistics.median(values)
    return Result(group, case, subject, unit, median, high - low, best, len(values))


@dataclass(slots=True)
class Run:
    """One run of the suite.

    Attributes:
        facts: The machine, the interpreter and the options.
        engines: The versions of the engines, by name.
        results: What was measured.
        skipped: What could not be, with the reason.
        failed: What went wrong, with the error.
    """

    facts: dict[str, str]
    engines: dict[str, str]
    results: list[Result] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    def cases(self) -> dict[tuple[str, str, str], list[Result]]:
        """The results by group, case and unit, in the order measured; the best subject first."""
        cases: dict[tuple[str, str, str], list[Result]] = {}
        for result in self.results:
            cases.setdefault((result.group, result.case, result.unit), []).append(result)
        for results in cases.values():
            results.sort(key=lambda result: result.median, reverse=results[0].more_is_better)
        return cases


def machine_facts() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "cpu": _processor(),
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "data plane": "compiled" if _compiled() else "interpreted",
    }


def _compiled() -> bool:
    """Whether the server was built with ANYWASM_COMPILED=1, told without importing it."""
    server = Path(__file__).resolve().parent.parent / "server"
    return any((server / f"stream_times{suffix}").exists() for suffix in EXTENSION_SUFFIXES)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or "unknown"


def show(value: float, unit: str) -> str:
    """A value with three digits and a fitting unit."""
    scales = _SCALES[unit]
    scale, name = next((item for item in scales if abs(value) >= item[0]), scales[-1])
    scaled = value / scale
    digits = 0 if scaled >= 100 else 1 if scaled >= 10 else 2
    return f"{scaled:.{digits}f} {name}"


def ratio(result: Result, other: Result) -> float:
    """How many times worse `result` is than `other`, by the median; 0 where nothing was used."""
    worse, better = (
        (other.median, result.median) if result.more_is_better else (result.median, other.median)
    )
    return worse / better if better else 0.0
