"""`anywasm start`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anywasm.cli.errors import extra
from anywasm.cli.serving import (
    LogFormat,
    LogFormatOption,
    SetupOption,
    WorkersOption,
    serve,
    set_up,
    with_workers,
)


def start(
    config: Annotated[
        Path,
        typer.Option(
            "--config", "-c", help="Configuration, YAML or JSON; Layotto's and Envoy's, too."
        ),
    ],
    log_format: LogFormatOption = LogFormat.TEXT,
    setup: SetupOption = None,
    workers: WorkersOption = None,
) -> None:
    """Serve what a configuration file says, until SIGTERM or Ctrl-C.

    Requests that are running then are finished. Changed modules are taken up while it runs. With
    several workers SIGHUP takes up the whole configuration without losing a request.

    \b
    Examples:
      anywasm start -c quickstart.yaml
      anywasm start -c quickstart.yaml --workers auto
      anywasm start -c layotto/demo/faas/config.json
      anywasm check -c quickstart.yaml && systemctl restart anywasm
      anywasm start -c quickstart.yaml --log-format json 2>>anywasm.log
    """  # noqa: D301
    set_up(setup)
    # The rest of the server is imported once it has something to serve: mistakes are told sooner.
    with extra("server"):
        from anywasm.plugins.config import load_config
    loaded = load_config(config)
    serve(
        with_workers(loaded.config, workers),
        loaded.notices,
        log_format,
        setup=setup or (),
        reload=lambda: with_workers(load_config(config).config, workers),
    )
