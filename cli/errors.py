"""What a command says when it fails, and with which exit code."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from anywasm.core.errors import AnyWasmError, ConfigError, EngineNotFoundError, PluginError

#: The command was used wrongly, or told something wrong.
USAGE = 2
#: It was used rightly and failed all the same.
FAILURE = 1


class MissingExtraError(AnyWasmError):
    """A package that this command needs is not installed."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import what the extra `name` brings inside this block.

    Raises:
        MissingExtraError: When a package is missing; names the pip command.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "anywasm":
            raise
        raise MissingExtraError(
            f"this command needs {error.name}, which is not installed: "
            f"pip install 'anywasm[{name}]'"
        ) from error


def exit_code(error: BaseException) -> int:
    """The exit code that an error ends the process with.

    A configuration that names a plugin which fails is right in itself.
    """
    if isinstance(error.__cause__, PluginError):
        return FAILURE
    return USAGE if isinstance(error, (ConfigError, EngineNotFoundError)) else FAILURE


class Commands(TyperGroup):
    """The commands; whatever they raise becomes a line on stderr, or a traceback with `--debug`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.params["debug"] or _is_the_terminals(error):
                raise
            # A ConfigError has a line of its own for each thing that is wrong.
            prefix = "" if isinstance(error, ConfigError) else "anywasm: "
            text = str(error) or type(error).__name__
            if not isinstance(error, (AnyWasmError, OSError)):
                text = f"internal error: {type(error).__name__}: {error} (--debug shows where)"
            typer.echo(f"{prefix}{text}", err=True)
            raise typer.Exit(exit_code(error)) from None


def _is_the_terminals(error: Exception) -> bool:
    """Whether typer itself knows what to do: usage errors, exits, a reader that went away."""
    return (
        isinstance(error, (typer.Abort, EOFError))
        or hasattr(error, "exit_code")
        or (isinstance(error, OSError) and error.errno == errno.EPIPE)
    )
