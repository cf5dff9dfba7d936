"""All commands. What a command needs is imported when it runs, so that help is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from anywasm.cli.bench import bench
from anywasm.cli.cache import cache
from anywasm.cli.check import check
from anywasm.cli.conformance import conformance
from anywasm.cli.demo import demo
from anywasm.cli.engines import engines
from anywasm.cli.errors import Commands
from anywasm.cli.golden import golden
from anywasm.cli.inspect import inspect
from anywasm.cli.run import run
from anywasm.cli.start import start
from anywasm.cli.worker import worker

app = typer.Typer(
    cls=Commands,
    name="anywasm",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain text: the same in a pipe, in a narrow terminal and in a log.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import anywasm

        typer.echo(f"anywasm {anywasm.__version__}")
        raise typer.Exit


@app.callback(epilog="`anywasm COMMAND --help` has examples. Start with: anywasm demo")
def anywasm_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Run WebAssembly on any engine: proxy-wasm filters and functions, and what helps with them."""


app.command()(demo)
app.command()(run)
app.command()(start)
app.command()(check)
app.command()(engines)
app.command()(inspect)
app.command()(golden)
app.command()(conformance)
app.command()(bench)
app.add_typer(cache)
app.command(hidden=True)(worker)


def main() -> None:
    """Run the `anywasm` command with the process's arguments; it exits."""
    app(prog_name="anywasm")
