"""`anywasm cache`."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anywasm.core.errors import ConfigError

if TYPE_CHECKING:
    from anywasm.core.artifact_cache import ArtifactCache, CacheEntry

cache = typer.Typer(
    name="cache",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Show or tidy the compiled modules that are kept for the next start.",
    epilog="They are in $ANYWASM_CACHE_DIR, else in ~/.cache/anywasm/artifacts; with an empty "
    "ANYWASM_CACHE_DIR nothing is kept. It is always safe to remove them.",
)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@cache.command("ls")
def ls(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List them, the most recently used first: size, last use, engine and options, wasm's sha256.

    \b
    Examples:
      anywasm cache ls
      anywasm cache ls --json | jq 'map(.bytes) | add'
    """  # noqa: D301
    entries = _open().entries()
    if as_json:
        typer.echo(json.dumps([_data(entry) for entry in entries], indent=2))
    else:
        for entry in entries:
            typer.echo(_line(entry))
        _sum("kept", entries)


@cache.command("prune")
def prune(
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Those not used for so long: 12h, 30d, 4w.")
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="The least recently used ones beyond this: 500M, 2G."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Remove artifacts: by default those that this machine cannot load any more.

    Servers that run keep what they have loaded.

    \b
    Examples:
      anywasm cache prune
      anywasm cache prune --older-than 30d --max-size 1G
      anywasm cache prune --all
    """  # noqa: D301
    removed = _open().prune(
        max_bytes=0 if everything else _amount("--max-size", max_size, _BYTES),
        max_age=_amount("--older-than", older_than, _SECONDS),
        unusable=True,
    )
    for entry in removed:
        typer.echo(_line(entry))
    _sum("removed", removed)


def _open() -> ArtifactCache:
    from anywasm.core.artifact_cache import CACHE_DIR, ArtifactCache, default_cache_folder

    folder = default_cache_folder()
    if folder is None:
        raise ConfigError(f"nothing is cached: name a folder in {CACHE_DIR}")
    return ArtifactCache(folder)


def _amount(option: str, text: str | None, units: dict[str, int]) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)([A-Za-z]?)", text)
    unit = None if found is None else units.get(found[2])
    if found is None or unit is None:
        known = ", ".join(f"7{name}" for name in units)
        raise ConfigError(f"{option} {text}: must be a number with its unit, such as {known}")
    return int(found[1]) * unit


def _data(entry: CacheEntry) -> dict[str, Any]:
    return {
        "path": str(entry.path),
        "bytes": entry.size,
        "used": entry.used,
        "engine": entry.engine,
        "version": entry.version,
        "usable": entry.usable,
        "wasm_sha256": entry.wasm_sha256,
    }


def _line(entry: CacheEntry) -> str:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
    what = "damaged" if entry.engine is None else f"{entry.engine} {entry.version}"
    note = "" if entry.usable or entry.engine is None else " (made on another kind of machine)"
    return f"{_size(entry.size):>9}  {used}  {what}{note}  {entry.wasm_sha256}"


def _sum(done: str, entries: list[CacheEntry]) -> None:
    total = sum(entry.size for entry in entries)
    typer.echo(f"{len(entries)} {done}, {_size(total).strip()} in {_open().folder}", err=True)


def _size(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
