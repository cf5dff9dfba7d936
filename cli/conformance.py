"""`anywasm conformance`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anywasm.cli.engine_choice import WasmEnginesOption, chosen_engines
from anywasm.cli.errors import FAILURE
from anywasm.cli.results import MarkdownOption, ResultsOption, write_results

if TYPE_CHECKING:
    from anywasm.testing.conformance.report import Report
    from anywasm.testing.conformance.result import Result
    from anywasm.testing.conformance.suite import Script

#: The most that is shown of what was not expected; JSON has it all.
_MOST_NEWS = 50


def conformance(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Scripts (*.wast), also in subfolders.",
        ),
    ],
    engine: WasmEnginesOption = None,
    script: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only scripts so named. Repeatable. By default all."),
    ] = None,
    json_file: ResultsOption = None,
    markdown: MarkdownOption = None,
    totals: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Put the totals into this JSON, which keeps its other engines'."
        ),
    ] = None,
    known: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="More known failures, of engines from outside. Repeatable."
        ),
    ] = None,
    converter: Annotated[
        str | None,
        typer.Option(metavar="PROGRAM", help="The wast2json or wasm-tools to read scripts with."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, help="How long a script may take on an engine.")
    ] = 120,
    jobs: Annotated[int, typer.Option(min=1, help="How many scripts run at the same time.")] = 2,
) -> None:
    """Run the WebAssembly specification's tests, or others in their format, on engines.

    Scripts are read with wabt's wast2json or with wasm-tools. Each runs in a process of its own,
    since an engine may end it. What an engine does not claim to support counts as unsupported.

    The exit code is 1 when something fails that is not known to, or passes that was known to fail.
    Known failures of the built-in engines are listed by cause for WebAssembly 2.0's suite
    (github.com/WebAssembly/spec, tag wg-2.0, folder test/core).

    \b
    Examples:
      anywasm conformance spec/test/core
      anywasm conformance spec/test/core --engine wasm3 --script 'i*.wast' --json results.json
      anywasm conformance tests/data/wast --engine acme --known acme.json --markdown -
    """  # noqa: D301
    from anywasm.testing.conformance import (
        KnownFailures,
        Report,
        find_converter,
        find_scripts,
        read_known,
    )

    scripts = find_scripts(folder, script or ())
    tool = find_converter(converter)
    before = _read_totals(totals)
    vms = chosen_engines(engine, wasm_only=True)
    lists = sum(map(read_known, known or ()), KnownFailures())
    report = Report({vm.name: vm.version for vm in vms}, tool.version, read_known() + lists)
    _run(report, scripts, [vm.name for vm in vms], tool.program, seconds, jobs)
    printed = write_results(json_file, json.dumps(report.data(), indent=1))
    printed |= write_results(markdown, report.markdown().removesuffix("\n"))
    if totals is not None:
        totals.write_text(json.dumps(before | report.totals(), indent=1) + "\n")
    if not printed:
        _show(report)
    if not report.as_expected:
        raise typer.Exit(FAILURE)


def _read_totals(path: Path | None) -> dict[str, Any]:
    """What the file has so far, looked at before anything runs that takes long."""
    from anywasm.core.errors import ConfigError

    if path is None or not path.exists():
        return {}
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} holds no totals: {error}") from error
    if not isinstance(before, dict):
        raise ConfigError(f"{path} holds no totals")
    return before


def _run(
    report: Report,
    scripts: Sequence[Script],
    engines: Sequence[str],
    program: str,
    seconds: float,
    jobs: int,
) -> None:
    """Run each script on each engine, with progress on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from anywasm.testing.conformance.converter import ConversionError, find_converter
    from anywasm.testing.conformance.suite import run_script

    tool = find_converter(program)

    def run(item: tuple[Script, str]) -> list[Result] | ConversionError:
        try:
            return run_script(item[0], item[1], tool, seconds)
        except ConversionError as error:
            return error

    items = list(product(scripts, engines))
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = Progress(*columns, console=Console(stderr=True), transient=True)
    if not shown.console.is_terminal:
        shown.disable = True
    with shown, ThreadPoolExecutor(jobs) as pool:
        task = shown.add_task("", total=len(items))
        for (script, engine), results in zip(items, pool.map(run, items)):
            if isinstance(results, ConversionError):
                report.unreadable[script.name] = str(results)
            else:
                report.add(engine, script, results)
            shown.update(task, advance=1, description=f"{script.name} on {engine}")


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="passed / failed / unsupported", title_justify="left")
    table.add_column("")
    for engine, version in report.versions.items():
        table.add_column(f"{engine} {version}", justify="right")
    for name in report.proposals():
        cells = (" / ".join(map(str, report.cell(engine, name))) for engine in report.versions)
        table.add_row(name, *cells)
    Console().print(table)
    for script, reason in report.unreadable.items():
        typer.echo(f"{script}: {report.converter} cannot read it: {reason}")
    for item in report.news[:_MOST_NEWS]:
        typer.echo(str(item))
    if len(report.news) > _MOST_NEWS:
        typer.echo(f"... and {len(report.news) - _MOST_NEWS} more: see --json")
    typer.echo("all as expected" if report.as_expected else "not as expected")
