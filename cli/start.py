"""`anywasm start`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anywasm.cli.errors import extra
from anywasm.core.errors import ConfigError

if TYPE_CHECKING:
    from anywasm.server.server import Server

_log = logging.getLogger("anywasm.cli")


class LogFormat(str, Enum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


def start(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", help="Configuration, YAML or JSON; Layotto's and Envoy's, too."
        ),
    ],
    check_only: Annotated[
        bool,
        typer.Option("--check-only", help="Read configuration and modules, compile, and end."),
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option(help="How the log on stderr is written.")
    ] = LogFormat.TEXT,
    setup: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="Call this Python function first; it may register guests of the null engine, "
            "engines or state stores. Repeatable.",
        ),
    ] = None,
) -> None:
    """Serve what a configuration file says, until SIGTERM or Ctrl-C.

    Requests that are running then are finished. Changed modules are taken up while it runs.

    \b
    Examples:
      anywasm start -c quickstart.yaml
      anywasm start -c layotto/demo/faas/config.json
      anywasm start -c quickstart.yaml --check-only && systemctl reload anywasm
      anywasm start -c quickstart.yaml --log-format json 2>>anywasm.log
    """  # noqa: D301
    with extra("server"):
        from anywasm.cli.check import check
        from anywasm.cli.logging import configure_logging
        from anywasm.plugins.config import load_config
        from anywasm.server.server import Server

    for name in setup or ():
        _function(name)()
    loaded = load_config(config)
    if check_only:
        check(config, loaded)
        return
    configure_logging(loaded.config.log_level, json=log_format is LogFormat.JSON)
    for notice in loaded.notices:
        _log.warning("%s", notice)
    Server(loaded.config).run(_ready)


def _function(name: str) -> Callable[[], object]:
    from importlib import import_module

    module, _, attribute = name.partition(":")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--setup {name}: {error}; name it MODULE:FUNCTION") from error
    if not callable(function):
        raise ConfigError(f"--setup {name}: is no function")
    return function  # type: ignore[no-any-return]


def _ready(server: Server) -> None:
    """Say that everything serves, in a form that programs can wait for."""
    addresses = {
        name: [_text(address) for address in listener.addresses]
        for name, listener in server.listeners.items()
    }
    _log.info("ready", extra={"addresses": addresses})


def _text(address: tuple[str, int] | str) -> str:
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
