"""`anywasm demo`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anywasm.cli.errors import FAILURE, extra

if TYPE_CHECKING:
    from anywasm.cli.demo.outcome import Outcome
    from anywasm.core.registry import EngineStatus


def demo(
    redis: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A Redis or Valkey that runs; its key book1 is set to 100. By default a Valkey is "
            "started for the demo.",
        ),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this engine. Repeatable. By default all of them."),
    ] = None,
    requests: Annotated[
        int, typer.Option(min=1, help="Requests to time on each engine, after the first.")
    ] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Serve two functions on every engine, and show what they answer.

    They are asked over HTTP. Function id_1 calls function id_2, which reads the key book1 of a real
    Valkey. On each engine both run in a server process of their own (on the null engine as Python
    classes, since it runs no WebAssembly). A line per engine shows the answer, the time from the
    start of that process to the first answer, and the median time of the requests after it, on one
    connection.

    The exit code is 1 when an answer is wrong or missing, or nothing could run.

    \b
    Examples:
      anywasm demo
      anywasm demo --engine wasmtime --engine null --requests 2000
      anywasm demo --redis redis://127.0.0.1:6379
      anywasm demo --json | jq '.engines[] | {name, cold_ms, warm_us}'
    """  # noqa: D301
    with extra("demo"):
        # What the servers need, so that a package that is missing is told once and not per engine.
        for name in ("anywasm.server.server", "anywasm.cli.logging"):
            import_module(name)
        from anywasm.cli.demo.byhand import by_hand
        from anywasm.cli.demo.interruption import Interruption
        from anywasm.cli.demo.outcome import Outcome
        from anywasm.cli.demo.store import open_store
        from anywasm.cli.demo.trial import EXPECTED, run_trial

    statuses = _chosen(engine)
    width = max(len(Outcome(status, None).title) for status in statuses)
    outcomes: list[Outcome] = []
    with (
        Interruption() as interruption,
        tempfile.TemporaryDirectory(prefix="anywasm-demo-") as temporary,
        open_store(redis, _folder(temporary)) as store,
    ):
        for status in statuses:
            trial = None
            if status.vm is not None:
                with _progress(status.name):
                    trial = run_trial(
                        status.vm, store, requests, _folder(temporary), interruption.check
                    )
            # The terminal's Ctrl-C ends the servers, too: that is no failure of theirs.
            interruption.check()
            outcome = Outcome(status, trial)
            outcomes.append(outcome)
            if not as_json:
                typer.secho(outcome.line(width), fg=outcome.colour)
    good = all(outcome.good for outcome in outcomes if outcome.trial is not None or engine)
    good = good and any(outcome.trial is not None for outcome in outcomes)
    if as_json:
        data = {"good": good, "expected": EXPECTED, "engines": [item.data() for item in outcomes]}
        typer.echo(json.dumps(data, indent=2))
    else:
        typer.echo("\n" + by_hand(outcomes, redis))
    if not good:
        raise typer.Exit(FAILURE)


def _chosen(names: Sequence[str] | None) -> list[EngineStatus]:
    """The engines asked for, once each.

    Raises:
        EngineNotFoundError: For a name that nobody offers.
    """
    from anywasm.core.errors import EngineNotFoundError
    from anywasm.core.registry import engine_statuses

    statuses = {status.name: status for status in engine_statuses()}
    for name in names or ():
        if name not in statuses:
            raise EngineNotFoundError(name, tuple(statuses))
    return [statuses[name] for name in dict.fromkeys(names or statuses)]


def _folder(inside: str) -> Path:
    return Path(tempfile.mkdtemp(dir=inside))


@contextmanager
def _progress(engine: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    # Nothing that moves: it would take time from what is measured.
    typer.echo(f"{engine} ...", nl=False, err=True)
    try:
        yield
    finally:
        typer.echo("\r\x1b[K", nl=False, err=True)
