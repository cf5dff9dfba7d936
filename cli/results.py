"""What a command writes down for programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _in_a_folder(path: Path | None) -> Path | None:
    """Refuse what could not be written, before anything runs that takes long."""
    if path is not None and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"{path}: no such folder")
    return path


def _option(name: str, help: str) -> object:
    return typer.Option(
        name,
        metavar="FILE",
        dir_okay=False,
        allow_dash=True,
        callback=_in_a_folder,
        help=help,
    )


ResultsOption = Annotated[
    Path | None, _option("--json", "Write the results as JSON; - prints them.")
]
MarkdownOption = Annotated[
    Path | None, _option("--markdown", "Write the table and the causes; - prints them.")
]


def write_results(path: Path | None, text: str) -> bool:
    """Write results where they were asked for.

    Args:
        path: The file, `-` for stdout, or None for nowhere.
        text: All of them, without the last line's end.

    Returns:
        Whether they are on stdout now, where nothing else may come then.
    """
    if path is None:
        return False
    if str(path) == "-":
        typer.echo(text)
        return True
    path.write_text(text + "\n")
    return False
