"""`anywasm golden`."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anywasm.cli.engine_choice import WasmEnginesOption, chosen_engines
from anywasm.cli.errors import FAILURE, extra
from anywasm.cli.results import ResultsOption, write_results

if TYPE_CHECKING:
    from anywasm.testing.golden.runner import CaseResult


def golden(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Cases (*.json), or a folder with cases/ and guests/ in it.",
        ),
    ],
    engine: WasmEnginesOption = None,
    wheels: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the wheels are unpacked that cases name."),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only cases so named. Repeatable. By default all."),
    ] = None,
    json_file: ResultsOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Also tell why a case could not be run.")
    ] = False,
) -> None:
    """Replay what real Envoy answered against this host, and show what differs.

    Each case starts a server with one filter, an echo server behind it, and sends the recorded
    requests. A case is ok when all answers and logs count as equal (docs/conformance.md has the
    rules), "no guest" when its module is not here, "unsupported" when the engine cannot run it.

    The exit code is 1 when a case differs, or when none could be run.

    \b
    Examples:
      anywasm golden tests/data/golden --case 'edge-*'
      anywasm golden golden/ --wheels wheels/ --engine wasmtime --json results.json
    """  # noqa: D301
    with extra("server"):
        from anywasm.testing.golden import GuestFinder, Outcome, Runner, read_cases
        from anywasm.testing.golden.report import data, details, summary, table

    # What guests and host log is compared, or only tells again what differs.
    logging.getLogger("anywasm").addHandler(logging.NullHandler())
    cases = read_cases(folder, case or ())
    runner = Runner(GuestFinder(wheels))
    results: list[CaseResult] = []
    for vm in chosen_engines(engine, wasm_only=True):
        for path, item in cases:
            _progress(f"{item.id} on {vm.name} ...")
            results.append(runner.run(path, item, vm))
    _progress("")
    if not write_results(json_file, json.dumps(data(results), indent=1)):
        shown = {Outcome.DIFFERS, *(Outcome if verbose else ())}
        for line in table(results):
            typer.echo(line)
        for result in results:
            if result.outcome in shown and result.outcome is not Outcome.OK:
                typer.echo("\n" + "\n".join(details(result)))
        typer.echo("\n" + summary(results))
    outcomes = {result.outcome for result in results}
    if Outcome.DIFFERS in outcomes or Outcome.OK not in outcomes:
        raise typer.Exit(FAILURE)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\r\x1b[K{text}", nl=False, err=True)
