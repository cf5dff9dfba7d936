"""`anywasm bench`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from anywasm.cli.engine_choice import chosen_engines
from anywasm.cli.errors import FAILURE, extra
from anywasm.cli.results import ResultsOption, write_results


class Group(str, Enum):
    """The parts of the suite."""

    CROSSING = "crossing"
    KERNELS = "kernels"
    ABI = "abi"
    COLD = "cold"
    SCALING = "scaling"
    HTTP = "http"


def bench(
    engine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this engine. Repeatable. By default all that can run here.",
        ),
    ] = None,
    only: Annotated[
        list[Group] | None,
        typer.Option(
            metavar="PART",
            help="Only crossing, kernels, abi, cold, scaling or http. Repeatable. By default all.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Rough figures, within a minute or two.")
    ] = False,
    json_file: ResultsOption = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Write report.md with pictures, and report.html, which stands alone.",
        ),
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Where large modules are; the largest one of 1 to 8 MiB is measured, too.",
        ),
    ] = None,
) -> None:
    """Measure every engine, beside its own Python API, native code, and a real Envoy.

    What is compared is measured in one run. Engines of third parties take part; wrk, cc and Envoy
    do where they are installed (docs/performance.md says how to read the figures).

    The exit code is 1 when something could not be measured because of an error.

    \b
    Examples:
      anywasm bench --quick
      anywasm bench --engine wasmtime --engine wasm3 --only crossing
      anywasm bench --json results.json --report report/
    """  # noqa: D301
    with extra("bench"):
        from anywasm.benchmarks.report import text_table, write_report
        from anywasm.benchmarks.run import GROUPS, run_suite
        from anywasm.benchmarks.suite import Options

    groups = [group.value for group in only] if only else GROUPS
    run = run_suite(chosen_engines(engine), Options(quick, wheels), groups, _progress())
    if sys.stderr.isatty():
        typer.echo("\r\x1b[K", nl=False, err=True)
    printed = write_results(json_file, json.dumps(run.data(), indent=1))
    if report is not None and run.results:
        for path in write_report(run, report):
            typer.echo(f"written: {path}", err=True)
    if not printed:
        for line in text_table(run):
            typer.echo(line)
    for name, error in run.failed.items():
        typer.echo(f"anywasm: {name} failed:\n{error}", err=True)
    if run.failed or not run.results:
        raise typer.Exit(FAILURE)


def _progress() -> Callable[[int, int, str], None]:
    """Shows on stderr what is measured: in a terminal on one line, elsewhere on one line each."""
    before, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")

    def show(done: int, total: int, name: str) -> None:
        typer.echo(f"{before}[{done + 1}/{total}] {name}{end}", nl=False, err=True)

    return show
