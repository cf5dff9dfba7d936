"""The pytest plugin of the suite: what to measure, and where the figures go."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from anywasm.benchmarks.result import Result, Run, summarize
from anywasm.core.registry import BUILT_IN, get_wasm_engine
from anywasm.core.vm import VM

#: After an engine's name: the binding's own Python API, without anywasm.
BINDING = " binding"
#: How often a benchmark with turns is run: often and for short, since a machine that others use,
#: too, changes its speed by half within seconds.
TURNS = 9

#: Values of single rounds, by group, case, subject and unit.
Noted = dict[tuple[str, str, str, str], list[float]]


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of the benchmarks.

    Attributes:
        quick: Whether rough figures will do.
        wheels: A folder with large modules below it, or None.
    """

    quick: bool
    wheels: Path | None


class Measure:
    """Takes the measurements of one benchmark function."""

    def __init__(self, noted: Noted, request: pytest.FixtureRequest, subject: str) -> None:
        self._noted = noted
        self._request = request
        self.group = request.module.__name__.rpartition("bench_")[2]
        self.subject = subject

    def calls(self, case: str, function: Callable[..., Any], *args: Any, repeats: int = 1) -> None:
        """Time calls of `function`; once in each benchmark function.

        Args:
            case: What is done.
            function: What to call.
            *args: What to call it with.
            repeats: How often one call does it.
        """
        self._benchmark(case, repeats)(function, *args)

    def single_calls(
        self,
        case: str,
        function: Callable[..., Any],
        rounds: int,
        setup: Callable[[], tuple[Any, ...]] | None = None,
        teardown: Callable[..., None] | None = None,
    ) -> None:
        """Time single calls, for what takes long or cannot be repeated; instead of `calls`.

        Args:
            case: What is done.
            function: What to call.
            rounds: How often.
            setup: Makes the arguments of each call, in time that does not count.
            teardown: Called with the same arguments afterwards.
        """
        arguments: dict[str, Any] = {"rounds": rounds, "iterations": 1}
        if setup is not None:
            arguments["setup"] = lambda: (setup(), {})
        if teardown is not None:
            arguments["teardown"] = teardown
        self._benchmark(case, 1).pedantic(function, **arguments)

    def values(self, case: str, unit: str, values: Sequence[float]) -> None:
        """Note what was measured otherwise, one value for each round.

        Those of one case, subject and unit belong together, whichever benchmarks note them.
        """
        self._noted.setdefault((self.group, case, self.subject, unit), []).extend(values)

    def _benchmark(self, case: str, repeats: int) -> Any:
        benchmark: Any = self._request.getfixturevalue("benchmark")
        benchmark.group = self.group
        benchmark.extra_info.update(case=case, subject=self.subject, repeats=repeats)
        return benchmark


class Suite:
    """Fixtures, parameters and progress.

    A benchmark that asks for `vm` or `subject` runs for every engine. The marker `subjects` names
    others, and with `engines=False` leaves the engines out. One that asks for `turn` runs several
    times, all subjects after each other each time: for what takes so long that the machine may be
    busy while the one is measured, and not while the next one is.

    Args:
        run: Gets the figures.
        options: What is asked for.
        progress: Told what is measured now: how many are done, of how many, and its name.
    """

    def __init__(
        self, run: Run, options: Options, progress: Callable[[int, int, str], None]
    ) -> None:
        self._run = run
        self._options = options
        self._progress = progress
        self._noted: Noted = {}
        self._done = 0
        self._total = 0

    # --- fixtures ---

    @pytest.fixture
    def vm(self, subject: str) -> VM:
        """The engine to measure."""
        return get_wasm_engine(subject)

    @pytest.fixture
    def options(self) -> Options:
        """What is asked of the benchmark."""
        return self._options

    @pytest.fixture
    def measure(self, request: pytest.FixtureRequest, subject: str) -> Measure:
        """Where the figures of the subject go."""
        return Measure(self._noted, request, subject)

    # --- hooks ---

    def pytest_configure(self, config: pytest.Config) -> None:
        """Declare the marker."""
        config.addinivalue_line("markers", "subjects(*names, engines=True): whom to measure")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give a benchmark its subjects and turns."""
        if "turn" in metafunc.fixturenames:
            turns = range(1, 2 if self._options.quick else TURNS + 1)
            metafunc.parametrize("turn", turns, ids="turn {}".format)
        if "subject" not in metafunc.fixturenames:
            return
        marker = metafunc.definition.get_closest_marker("subjects")
        subjects: list[str] = []
        if marker is None or marker.kwargs.get("engines", True):
            subjects += self._run.engines
        if marker is not None:
            subjects += filter(self._is_wanted, marker.args)
        metafunc.parametrize("subject", subjects)

    def _is_wanted(self, subject: str) -> bool:
        engine = subject.removesuffix(BINDING)
        return engine not in BUILT_IN or engine in self._run.engines

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Measure all subjects of one case in a row: what else the machine does changes slowly."""
        cases: dict[str, list[pytest.Item]] = {}
        for item in items:
            cases.setdefault(_case(item), []).append(item)
        items[:] = [item for case in cases.values() for item in sorted(case, key=_turn)]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what there is to do."""
        self._total = len(session.items)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Tell what begins."""
        self._progress(self._done, self._total, _title(nodeid))
        self._done += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what could not be measured."""
        if report.skipped:
            assert isinstance(report.longrepr, tuple)
            self._run.skipped[_name(report.nodeid)] = report.longrepr[2].removeprefix("Skipped: ")
        elif report.failed:
            self._run.failed[_name(report.nodeid)] = report.longreprtext

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that could not be imported."""
        if report.failed:
            self._run.failed[_title(report.nodeid)] = report.longreprtext

    def pytest_sessionfinish(self) -> None:
        """Sum up what was noted."""
        self._run.results += [summarize(*key, values) for key, values in self._noted.items()]

    def pytest_benchmark_generate_machine_info(self) -> dict[str, str]:
        """What is known of the machine; pytest-benchmark's own search takes a second."""
        return self._run.facts

    def pytest_benchmark_generate_commit_info(self) -> dict[str, str]:
        """Nothing: what runs is a package, wherever the command was started."""
        return {}


def _case(item: pytest.Item) -> str:
    """The same for all subjects of one case."""
    assert isinstance(item, pytest.Function)
    params = item.callspec.params.items()
    others = {key: value for key, value in params if key not in ("subject", "turn")}
    return f"{item.path} {item.originalname} {others}"


def _turn(item: pytest.Item) -> int:
    assert isinstance(item, pytest.Function)
    turn: Any = item.callspec.params.get("turn", 0)
    return int(turn)


def _title(nodeid: str) -> str:
    """`crossing: empty[wasmtime]` for `.../bench_crossing.py::bench_empty[wasmtime]`."""
    module, _, function = nodeid.partition("::")
    group = Path(module).stem.removeprefix("bench_")
    return f"{group}: {function.removeprefix('bench_')}" if function else group


def _name(nodeid: str) -> str:
    """The title, of whichever turn."""
    return re.sub(r"turn \d+-", "", _title(nodeid))


def read_benchmarks(path: Path) -> Iterator[Result]:
    """The figures that pytest-benchmark wrote to `path` as JSON; of several turns those of all."""
    text = path.read_text() if path.exists() else ""
    turns: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for item in json.loads(text)["benchmarks"] if text else ():
        info = item["extra_info"]
        stats = {
            name: item["stats"][name] / info["repeats"] for name in ("median", "iqr", "min")
        } | {"rounds": item["stats"]["rounds"]}
        turns.setdefault((item["group"], info["case"], info["subject"]), []).append(stats)
    for key, found in turns.items():
        whole = summarize(*key, "s", [stats["median"] for stats in found])
        yield replace(
            whole,
            iqr=whole.iqr if found[1:] else found[0]["iqr"],
            best=min(stats["min"] for stats in found),
            rounds=sum(stats["rounds"] for stats in found),
        )
