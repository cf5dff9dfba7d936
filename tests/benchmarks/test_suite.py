"""In which order the suite measures, and what belongs together in its figures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anywasm.benchmarks.result import Run
from anywasm.benchmarks.suite import TURNS, Options, Suite

BENCHMARKS = """
import pytest

SEEN = []

@pytest.mark.usefixtures("turn")
@pytest.mark.parametrize("case", ["x", "y"])
@pytest.mark.subjects("them")
def bench_turns(measure, case):
    SEEN.append((case, measure.subject))
    measure.values(case, "s", [float(len(SEEN))])

@pytest.mark.usefixtures("turn")
def bench_nothing(measure):
    pytest.skip("not here")

def bench_once(measure):
    measure.values("once", "s", [1.0, 3.0])
"""


def measured(folder: Path, quick: bool) -> tuple[Run, list[str]]:
    file = folder / "bench_some.py"
    file.write_text(BENCHMARKS)
    run = Run({}, {"a": "1", "b": "1"})
    steps: list[str] = []
    suite = Suite(run, Options(quick, None), lambda done, total, name: steps.append(name))
    options = ["-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider", "-q"]
    options += [
        "--import-mode=importlib",
        "-o",
        "python_files=bench_*.py",
        "-o",
        "python_functions=bench_*",
    ]
    assert pytest.main([*options, str(file)], plugins=[suite]) == 0
    return run, steps


def test_all_subjects_take_turns_in_each_case(tmp_path: Path) -> None:
    run, steps = measured(tmp_path, quick=False)
    assert steps[: 6 * TURNS] == [
        f"some: turns[turn {turn}-{subject}-{case}]"
        for case in "xy"
        for turn in range(1, TURNS + 1)
        for subject in ("a", "b", "them")
    ]
    assert [(r.case, r.subject, r.rounds, r.best) for r in run.results] == [
        ("x", "a", TURNS, 1.0),
        ("x", "b", TURNS, 2.0),
        ("x", "them", TURNS, 3.0),
        ("y", "a", TURNS, 3.0 * TURNS + 1),
        ("y", "b", TURNS, 3.0 * TURNS + 2),
        ("y", "them", TURNS, 3.0 * TURNS + 3),
        ("once", "a", 2, 1.0),
        ("once", "b", 2, 1.0),
    ]
    assert run.skipped == {"some: nothing[a]": "not here", "some: nothing[b]": "not here"}
    assert run.results[0].median == 1.0 + 3 * (TURNS // 2)


def test_one_turn_will_do_for_rough_figures(tmp_path: Path) -> None:
    run, steps = measured(tmp_path, quick=True)
    assert len(steps) == 6 + 2 + 2
    assert [(result.case, result.rounds) for result in run.results[:3]] == [("x", 1)] * 3
