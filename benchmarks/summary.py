"""What a run comes to: which engine to choose when, and the ratios that matter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from anywasm.benchmarks.envoy import ENVOY
from anywasm.benchmarks.result import Result, Run, ratio, show
from anywasm.benchmarks.suite import BINDING


@dataclass(frozen=True, slots=True)
class Ratio:
    """One thing measured of two, in the same run.

    Attributes:
        what: The case, and of which engine.
        ours: What it takes here.
        theirs: What it takes them.
        who: Them.
        share: Ours divided by theirs, medians: below 1 is better, whatever the unit.
        best: The same of the best rounds.
    """

    what: str
    ours: str
    theirs: str
    who: str
    share: float
    best: float


def ratios(run: Run) -> Iterator[Ratio]:
    """This host beside each engine's own Python API, and beside Envoy."""
    for (group, case, _), results in run.cases().items():
        by_subject = {result.subject: result for result in results}
        for engine in run.engines:
            binding = by_subject.get(engine + BINDING)
            if group == "crossing" and engine in by_subject and binding is not None:
                yield _ratio(f"{case}, {engine}", by_subject[engine], binding)
        envoy = by_subject.get(ENVOY)
        if envoy is None or not case.endswith(("CPU per request", "first 200", "idle memory")):
            continue
        for result in results:
            if result is not envoy:
                yield _ratio(f"{case}, {result.subject}", result, envoy)


def _ratio(what: str, ours: Result, theirs: Result) -> Ratio:
    here, there = (show(item.median, item.unit) for item in (ours, theirs))
    best = ratio(*(replace(item, median=item.best) for item in (ours, theirs)))
    return Ratio(what, here, there, theirs.subject, ratio(ours, theirs), best)


def summary(run: Run) -> Iterator[str]:
    """Which engine to choose when, by this run; only of what it measured."""
    engines = [name for name in run.engines if name != "null"]
    for words, group, cases in (
        ("Short filters, which call the host often and compute little", "abi", ("stream",)),
        ("A filter of some megabytes in Go", "abi", ("Go filter",)),
        ("Computing", "kernels", ("",)),
        ("A short call into a guest", "crossing", ("call ",)),
        ("Compiling a small module", "cold", ("compile, 5 KB",)),
        ("Compiling a module of some megabytes", "cold", ("compile, ",)),
        ("Starting it again from its artifact", "cold", ("load artifact file",)),
        ("Memory for each further idle plugin", "scaling", ("each further",)),
    ):
        small = ("5 KB",) if "some megabytes" in words else ()
        found = [
            {result.subject: result for result in results}
            for (of, case, _), results in run.cases().items()
            if of == group and case.startswith(cases) and not any(text in case for text in small)
        ]
        yield from _sentence(words, engines, found)


def _sentence(
    words: str, engines: Sequence[str], cases: Sequence[dict[str, Result]]
) -> Iterator[str]:
    """One line, such as `Computing: wasmtime; wasmer 1.1 times as much, wasm3 12 times.`."""
    taking_part = [name for name in engines if cases and all(name in case for case in cases)]
    if len(taking_part) < 2:
        return
    factors = {
        name: _geometric_mean(
            [
                ratio(case[name], min((case[one] for one in taking_part), key=_median))
                for case in cases
            ]
        )
        for name in taking_part
    }
    best, *others = sorted(taking_part, key=factors.__getitem__)
    shown = f" ({show(cases[0][best].median, cases[0][best].unit)})" if len(cases) == 1 else ""
    rest = ", ".join(f"{name} {_times(factors[name] / factors[best])}" for name in others)
    yield f"{words}: {best}{shown}; {rest}."


def _median(result: Result) -> float:
    return result.median


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(max(value, 1e-9)) for value in values) / len(values))


def _times(factor: float) -> str:
    if factor < 1.05:
        return "as much"
    return f"{factor:.1f} times as much" if factor < 10 else f"{factor:.0f} times as much"
