"""Runs the suite."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Callable, Collection, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import pytest

# pytest finds it by itself, but does not say what is missing when it is not there.
import pytest_benchmark  # noqa: F401

from anywasm.benchmarks.envoy import ENVOY, envoy_version
from anywasm.benchmarks.result import Run, machine_facts
from anywasm.benchmarks.suite import Options, Suite, read_benchmarks
from anywasm.core.vm import VM

_FOLDER = Path(__file__).parent
#: The benchmark modules, in the order in which they run.
GROUPS = ("crossing", "kernels", "abi", "cold", "scaling", "http")


def run_suite(
    engines: Sequence[VM],
    options: Options,
    groups: Collection[str] = GROUPS,
    progress: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> Run:
    """Measure the engines.

    Args:
        engines: Which.
        options: How.
        groups: Of `GROUPS`, what is measured.
        progress: Told what is measured now: how many are done, of how many, and its name.

    Returns:
        The figures; what failed is in there, too.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
    """
    facts = {**machine_facts(), "mode": "quick" if options.quick else "full"}
    envoy = envoy_version() if "http" in groups else None
    if envoy is not None:
        facts[ENVOY] = envoy
    run = Run(facts, {vm.name: vm.version for vm in engines})
    with tempfile.TemporaryDirectory(prefix="anywasm-bench-") as folder:
        timings = Path(folder) / "timings.json"
        arguments = [
            # The project that the command happens to be started in has no say.
            *("-c", os.devnull, "--rootdir", str(_FOLDER), "--basetemp", f"{folder}/tmp"),
            *("-o", "python_files=bench_*.py", "-o", "python_functions=bench_*"),
            *("-p", "no:cacheprovider", "--import-mode=importlib", "--capture=sys"),
            *("--benchmark-enable", "--benchmark-quiet", f"--benchmark-json={timings}"),
            f"--benchmark-max-time={0.04 if options.quick else 0.5}",
            f"--benchmark-min-time={0.0002 if options.quick else 0.001}",
            f"--benchmark-min-rounds={5 if options.quick else 20}",
            *(str(_FOLDER / f"bench_{name}.py") for name in GROUPS if name in groups),
        ]
        with redirect_stdout(io.StringIO()) as output, warnings.catch_warnings():
            # Not every benchmark is one of calls.
            warnings.filterwarnings("ignore", "Not saving anything")
            code = pytest.main(arguments, plugins=[Suite(run, options, progress)])
        if code == pytest.ExitCode.INTERRUPTED and not run.failed:
            raise KeyboardInterrupt
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not run.failed:
            run.failed["the suite"] = output.getvalue()
        run.results += read_benchmarks(timings)
    order = {name: index for index, name in enumerate(GROUPS)}
    run.results.sort(key=lambda result: order[result.group])
    return run
