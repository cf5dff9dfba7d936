"""`anywasm inspect`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer


def inspect(
    module: Annotated[
        Path,
        typer.Argument(
            metavar="MODULE",
            exists=True,
            dir_okay=False,
            readable=True,
            help="A WebAssembly module (.wasm).",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a module needs and offers, and how it would run here.

    Nothing is run, and no engine is needed.

    \b
    Examples:
      anywasm inspect filter.wasm
      anywasm inspect filter.wasm --json | jq .sha256
      anywasm inspect filter.wasm | grep lacks      # what keeps it from running here
    """  # noqa: D301
    from anywasm.cli.report import report_on
    from anywasm.core.errors import CompileError

    try:
        report = report_on(module.read_bytes())
    except CompileError as error:
        raise CompileError(f"{module}: {error}") from error
    if as_json:
        typer.echo(json.dumps({"path": str(module), **report.data()}, indent=2))
    else:
        for line in _lines(module, report.data()):
            typer.echo(line)


def _lines(module: Path, data: dict[str, object]) -> Iterator[str]:
    yield str(module)
    for key, value in data.items():
        title = key.replace("_", " ")
        if not isinstance(value, list):
            yield f"  {title:<12} {'none' if value is None else value}"
            continue
        yield ""
        yield f"{title} ({len(value)})"
        for item in value:
            yield f"  {_item(key, item)}"


def _item(key: str, item: dict[str, object]) -> str:
    if key == "imports":
        lacks = f"lacks ({item['lacks']})" if item["lacks"] else "has"
        return f"{lacks:<6} {item['module']}.{item['name']}: {item['type']}"
    if key == "exports":
        return f"{item['name']}: {item['type']}"
    if key == "custom_sections":
        return f"{item['name']}: {item['bytes']} bytes"
    return f"{item['field']}: {item['name']} {item['version']}".rstrip()
