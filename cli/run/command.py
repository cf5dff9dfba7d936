"""The command itself."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anywasm.cli.errors import extra
from anywasm.cli.serving import (
    LogFormat,
    LogFormatOption,
    WorkersOption,
    address_text,
    serve,
    with_workers,
)
from anywasm.core.errors import AbiError, CompileError, ConfigError, EngineNotFoundError

if TYPE_CHECKING:
    from anywasm.cli.report import ModuleReport
    from anywasm.server.server import Server
    from anywasm.server.workers import Supervisor


class FailurePolicy(str, Enum):
    """What happens after the filter has trapped."""

    FAIL_RELOAD = "fail_reload"
    FAIL_CLOSED = "fail_closed"
    FAIL_OPEN = "fail_open"


class Profile(str, Enum):
    """Whose extras the plugin finds."""

    ENVOY = "envoy"
    HIGRESS = "higress"


class LogLevel(str, Enum):
    """From which level on is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def run(
    filter: Annotated[
        Path,
        typer.Argument(
            metavar="FILTER",
            exists=True,
            dir_okay=False,
            readable=True,
            help="A proxy-wasm module (.wasm).",
        ),
    ],
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="What is behind the filter: http://HOST:PORT or https://HOST. By default 200 ok.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE|-",
            help="What the filter reads as its configuration; or the typed_config of Envoy's Wasm "
            "filter, or a WasmPlugin, whose settings apply but for the module.",
        ),
    ] = None,
    config_json: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The filter's configuration, as JSON.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(metavar="NAME", help="The engine; wasmtime by default.")
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where it listens; port 0: any that is free.")
    ] = "127.0.0.1:8080",
    root_id: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Which of the module's root contexts serves."),
    ] = None,
    failure_policy: Annotated[
        FailurePolicy | None, typer.Option(help="What happens after a trap.")
    ] = None,
    profile: Annotated[
        Profile | None, typer.Option(help="Whose extras it finds; by default its ABI decides.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Take up the module whenever it changes.")
    ] = True,
    workers: WorkersOption = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Write a line for each request to stdout.")
    ] = False,
    log_level: Annotated[
        LogLevel, typer.Option(help="From which level on is logged.")
    ] = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run one filter, with no file to write, until SIGTERM or Ctrl-C.

    Requests pass it on their way to the upstream, and responses on their way back. A Layotto
    function (a module that exports proxy_get_id) is served as a function.

    \b
    Examples:
      anywasm run filter.wasm
      anywasm run filter.wasm --upstream http://127.0.0.1:9000 --config filter.json --access-log
      anywasm run filter.wasm --config wasmplugin.yaml --engine wasmer
      echo '{"header": "x-tag"}' | anywasm run filter.wasm --config - --log-level debug
    """  # noqa: D301
    with extra("server"):
        from anywasm.cli.run.plugin import make_plugin, read_given
        from anywasm.cli.run.server import filter_server, function_server, listen_address
        from anywasm.core.registry import known_engines

    if engine is not None and engine not in known_engines():
        raise EngineNotFoundError(engine, known_engines())
    address = listen_address(listen)
    report = _report(filter)
    options = {
        "engine": engine,
        "root_id": root_id,
        "failure_policy": failure_policy and failure_policy.value,
        "profile": profile and profile.value,
    }
    made = make_plugin(
        filter.absolute(),
        read_given(config, config_json),
        {key: value for key, value in options.items() if value is not None},
    )
    (plugin,) = made.filters
    if report.is_function:
        _refuse_for_functions(
            {"--upstream": upstream, "--access-log": access_log, "--failure-policy": failure_policy}
        )
        app = function_server(plugin, address)
    else:
        app = filter_server(plugin, address, upstream, access_log)

    def announce(server: Server | Supervisor) -> None:
        for line in _announcement(server, report, filter, upstream):
            typer.echo(line)

    settings = {"watch": watch, "log_level": log_level.value}
    app = with_workers(app.model_copy(update=settings), workers)
    serve(app, made.notices, log_format, announce)


def _report(path: Path) -> ModuleReport:
    """What can be told before it runs.

    Raises:
        CompileError: When it is no module.
        AbiError: When it is no plugin.
    """
    from anywasm.cli.report import report_on

    try:
        report = report_on(path.read_bytes())
    except CompileError as error:
        raise CompileError(f"{path}: {error}") from error
    if report.abi is None:
        raise AbiError(f"{path}: {report.kind}; `anywasm inspect` shows what it is")
    return report


def _refuse_for_functions(options: dict[str, object]) -> None:
    given = [name for name, value in options.items() if value]
    if given:
        raise ConfigError(
            f"{', '.join(given)}: only for filters; this module is a function "
            f"(it exports proxy_get_id), and nothing is behind it"
        )


def _announcement(
    server: Server | Supervisor, report: ModuleReport, path: Path, upstream: str | None
) -> list[str]:
    """What is served, and how to ask it."""
    from anywasm.cli.examination import plugin_facts
    from anywasm.cli.run.server import LISTENER
    from anywasm.server.server import Server

    if isinstance(server, Server):
        (wrapper,) = server.manager.list()
        facts = plugin_facts(wrapper.plugin)
        how = f"proxy-wasm {facts['abi_version']}, profile {facts['profile']}, {facts['execution']}"
    else:
        # No plugin runs in this process.
        (facts,) = server.fleet.first_plugins
        assert report.abi is not None
        how = f"proxy-wasm {report.abi.name}, {len(server.fleet.slots)} workers"
    engine = f"{facts['engine']} {facts['engine_version']}"
    header = ""
    if report.is_function:
        place = f"serves as the function {facts['id']}"
        header = f"-H 'id: {facts['id']}' "
    elif upstream is not None:
        place = f"filters in front of {upstream}"
    else:
        place = "filters in front of a 200 that says ok (--upstream URL puts a server there)"
    address = address_text(server.addresses[LISTENER][0])
    if address.startswith("unix:"):
        url = f"--unix-socket {address.removeprefix('unix:')} http://localhost/"
    else:
        url = f"http://{address}/"
    lines = [f"{path} {place}, on {engine} ({how})", f"    curl -i {header}{url}"]
    if server.config.watch:
        lines.append("A new version of the module is taken up as soon as it is there.")
    return lines
