"""`anywasm worker`: what `start --workers` starts, and nobody else."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Annotated

import typer

from anywasm.cli.serving import set_up

if TYPE_CHECKING:
    from anywasm.server.workers import WorkerSettings


def worker(
    channel: Annotated[int, typer.Argument(help="The descriptor of an inherited socket.")],
) -> None:
    """Serve what the supervisor at the other end of a socket says."""
    from anywasm.cli.logging import configure_logging
    from anywasm.server.workers.worker import Worker

    def prepare(settings: WorkerSettings) -> None:
        level = settings.config.log_level
        configure_logging(level, json=settings.options["json"], worker=settings.number)
        set_up(settings.options["setup"])

    Worker(socket.socket(fileno=channel), prepare).run()
