"""What the commands that serve have in common."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from anywasm.cli.errors import extra
from anywasm.core.errors import ConfigError

if TYPE_CHECKING:
    from anywasm.plugins.config import AppConfig
    from anywasm.server.server import Server
    from anywasm.server.workers import Supervisor

_log = logging.getLogger("anywasm.cli")


class LogFormat(str, Enum):
    """How a line of the log is written."""

    TEXT = "text"
    JSON = "json"


LogFormatOption = Annotated[LogFormat, typer.Option(help="How the log on stderr is written.")]

SetupOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="Call this Python function first; it may register guests of the null engine, "
        "engines or state stores. Repeatable.",
    ),
]


def set_up(names: Iterable[str] | None) -> None:
    """Call what `--setup` names.

    Raises:
        ConfigError: When there is no such function.
    """
    for name in names or ():
        _function(name)()


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


def serve(
    config: AppConfig,
    notices: Iterable[str],
    log_format: LogFormat,
    started: Callable[[Server | Supervisor], None] | None = None,
    setup: Sequence[str] = (),
    reload: Callable[[], AppConfig] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, with as many processes as the configuration says.

    Args:
        config: What to serve.
        notices: Logged as warnings before anything else.
        log_format: How the log is written.
        started: Called once everything serves and the log says so.
        setup: What workers call first, as `set_up` does.
        reload: Reads the configuration again.

    Raises:
        AnyWasmError: When something cannot be started, or a package is missing.
    """
    from anywasm.plugins.compiling import CompilerPool
    from anywasm.plugins.preload import anticipate

    compilers = CompilerPool()
    if config.worker_count == 1:
        anticipate(config.plugins, compilers)
    with extra("server"):
        from anywasm.cli.logging import configure_logging
        from anywasm.server.server import Server

    def ready(server: Server | Supervisor) -> None:
        # In a form that programs can wait for.
        addresses = {
            name: [address_text(address) for address in places]
            for name, places in server.addresses.items()
        }
        _log.info("ready", extra={"addresses": addresses})
        if started is not None:
            started(server)

    json = log_format is LogFormat.JSON
    configure_logging(config.log_level, json=json)
    for notice in notices:
        _log.warning("%s", notice)
    if config.worker_count == 1:
        Server(config, compilers=compilers).run(ready, reload)
        return
    with extra("server"):
        from anywasm.server.workers import Supervisor
    command = [sys.executable, "-m", "anywasm", "worker"]
    options = {"json": json, "setup": list(setup)}
    Supervisor(config, command, options, reload).run(ready)


WorkersOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="How many processes serve; auto: one for each CPU. By default 1.",
    ),
]


def with_workers(config: AppConfig, workers: str | None) -> AppConfig:
    """The configuration with what `--workers` says.

    Raises:
        ConfigError: When that is no number of processes.
    """
    from anywasm.plugins.config.app import MAX_WORKERS

    if workers is None:
        return config
    count = int(workers) if workers.isascii() and workers.isdecimal() else workers
    if count != "auto" and not (isinstance(count, int) and 1 <= count <= MAX_WORKERS):
        raise ConfigError(f"--workers {workers}: must be 1 to {MAX_WORKERS}, or auto")
    return config.model_copy(update={"workers": count})


def address_text(address: tuple[str, int] | str) -> str:
    """An address that a listener has, as a configuration spells it."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
