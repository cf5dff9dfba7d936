"""`anywasm engines`."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anywasm.core.capabilities import Capabilities
    from anywasm.core.registry import EngineStatus


def engines(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the engines: which can run here, and how to get the others.

    What is listed under NAME is what `vm_config.engine` takes. In a pipe each engine is one line.

    \b
    Examples:
      anywasm engines
      anywasm engines | grep interrupt
      anywasm engines --json | jq -r '.[] | select(.available) | .name'
    """  # noqa: D301
    from anywasm.core.registry import engine_statuses

    statuses = engine_statuses()
    if as_json:
        typer.echo(json.dumps([_data(status) for status in statuses], indent=2))
    elif sys.stdout.isatty():
        _print_table(statuses)
    else:
        for status in statuses:
            typer.echo(_line(status))


def _claims(capabilities: Capabilities) -> dict[str, bool]:
    return {
        field.name: value
        for field in fields(capabilities)
        if isinstance(value := getattr(capabilities, field.name), bool)
    }


def _data(status: EngineStatus) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": status.name,
        "origin": status.origin,
        "available": status.vm is not None,
    }
    if status.vm is not None:
        capabilities = status.vm.capabilities
        data["version"] = status.vm.version
        data["capabilities"] = {
            **_claims(capabilities),
            "imports": sorted(capabilities.imports),
            "features": sorted(capabilities.features),
        }
    if status.error is not None:
        data["reason"] = status.error.reason
        data["remedy"] = status.error.remedy
    return data


def _words(status: EngineStatus) -> tuple[str, str]:
    """The capabilities and the features, or why the engine cannot run and what helps."""
    if status.vm is None:
        assert status.error is not None
        return status.error.reason, status.error.remedy
    capabilities = status.vm.capabilities
    claims = [name.replace("_", " ") for name, claimed in _claims(capabilities).items() if claimed]
    return ", ".join(claims), ", ".join(sorted(capabilities.features))


def _line(status: EngineStatus) -> str:
    first, second = (" ".join(words.split()) for words in _words(status))
    if status.vm is None:
        return f"{status.name} ({status.origin}): not available: {first}" + (
            f"; remedy: {second}" if second else ""
        )
    head = f"{status.name} {status.vm.version} ({status.origin}): available"
    return f"{head}; capabilities: {first}; features: {second}"


def _print_table(statuses: tuple[EngineStatus, ...]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 1, 0), pad_edge=False)
    for title in ("NAME", "VERSION", "ORIGIN", "CAPABILITIES, FEATURES"):
        table.add_column(title, overflow="fold")
    for status in statuses:
        first, second = _words(status)
        if status.vm is None:
            words = Text.assemble(("not available: ", "red"), first, "\n", (second, "cyan"))
        else:
            words = Text.assemble((first, "green"), "\n", (second, "dim"))
        version = status.vm.version if status.vm is not None else "-"
        table.add_row(Text(status.name, "bold"), version, status.origin, words)
    Console().print(table)
