"""`anywasm check`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anywasm.cli.errors import FAILURE, USAGE, extra
from anywasm.cli.serving import SetupOption, set_up
from anywasm.core.errors import ConfigError

if TYPE_CHECKING:
    from anywasm.cli.examination import Examination, Verdict
    from anywasm.plugins.config import LoadedConfig


def check(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", help="Configuration, YAML or JSON; Layotto's and Envoy's, too."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    setup: SetupOption = None,
) -> None:
    """Do all that a server does before it listens, and say what came of it.

    Each plugin is compiled, started and configured on its engine. No port is opened, and nothing
    is connected to: neither state stores nor what plugins call while they start.

    The exit code is 2 when the configuration is wrong, 1 when a plugin fails, and 0 when all of it
    can be served.

    \b
    Examples:
      anywasm check -c envoy.yaml
      anywasm check -c quickstart.yaml && systemctl restart anywasm
      anywasm check -c quickstart.yaml --json | jq '.plugins[] | {name, compile_ms, error}'
    """  # noqa: D301
    set_up(setup)
    with extra("server"):
        from anywasm.plugins.config import load_config
    try:
        loaded = load_config(config)
    except ConfigError as error:
        if not as_json:
            raise
        problems = str(error).splitlines()
        data = {"path": str(config), "good": False, "problems": problems, "plugins": []}
        typer.echo(json.dumps(data, indent=2))
        raise typer.Exit(USAGE) from None
    with extra("server"):
        from anywasm.cli.examination import examine
    examination = examine(loaded)
    if as_json:
        typer.echo(json.dumps(_data(config, loaded, examination), indent=2))
    else:
        for line in (*loaded.notices, *examination.problems):
            typer.echo(line, err=True)
        for line in _lines(config, loaded, examination):
            typer.echo(line)
    if examination.problems:
        raise typer.Exit(USAGE)
    if not examination.good:
        raise typer.Exit(FAILURE)


def _data(path: Path, loaded: LoadedConfig, examination: Examination) -> dict[str, Any]:
    return {
        "path": str(path),
        "good": examination.good,
        "problems": list(examination.problems),
        "notices": list(loaded.notices),
        **_counts(loaded),
        "plugins": [
            {
                "name": verdict.name,
                "good": verdict.error is None,
                "error": verdict.error,
                "log": list(verdict.log),
                **verdict.facts,
            }
            for verdict in examination.verdicts
        ],
    }


def _counts(loaded: LoadedConfig) -> dict[str, int]:
    config = loaded.config
    return {
        "listeners": len(config.listeners),
        "clusters": len(config.clusters),
        "state_stores": len(config.state_stores),
    }


def _lines(path: Path, loaded: LoadedConfig, examination: Examination) -> Iterator[str]:
    for verdict in examination.verdicts:
        yield _line(verdict)
        for said in verdict.log:
            yield f"        the guest logged {said}"
    failed = sum(verdict.error is not None for verdict in examination.verdicts)
    counts = {**_counts(loaded), "plugins": len(examination.verdicts), "failed": failed}
    counted = ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items())
    yield f"{path}: {'good' if examination.good else 'NOT good'}; {counted}"


def _line(verdict: Verdict) -> str:
    if verdict.error is not None:
        return f"FAILED  {verdict.name}: {verdict.error}"
    facts = verdict.facts
    name = "" if facts["id"] is None else f" {facts['id']}"
    return (
        f"ok      {verdict.name}: {facts['kind']}{name} on {facts['engine']} "
        f"{facts['engine_version']}, proxy-wasm {facts['abi_version']}, "
        f"profile {facts['profile']}, {facts['execution']}; "
        f"compiled in {facts['compile_ms']:.1f} ms, started in {facts['start_ms']:.1f} ms"
    )
