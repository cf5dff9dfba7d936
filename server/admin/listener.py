"""Serves the management API beside the data plane, with an ordinary ASGI server."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import Address
from anywasm.server.listeners import remove_socket


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process's own decide when to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.serving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class AdminListener:
    """One listener of the management API. Belongs to one event loop.

    Args:
        app: The API.
        address: Where to listen.
        drain_timeout: Seconds that requests under way get when it is closed.
    """

    def __init__(self, app: ASGIApp, address: Address, drain_timeout: float = 10.0) -> None:
        self._address = address
        self._server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=math.ceil(drain_timeout),
            )
        )
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> Address:
        """Where it listens; with the port that the system chose, once it is started."""
        if self._socket is None or self._address.path is not None:
            return self._address
        return Address(self._address.host, self._socket.getsockname()[1])

    @property
    def connections_active(self) -> int:
        """Connections open now."""
        return len(self._server.server_state.connections)

    async def start(self) -> None:
        """Bind and accept.

        Raises:
            ConfigError: When the address cannot be bound.
        """
        try:
            self._socket = self._bind()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"the management API cannot listen on {self._address}: {reason}"
            ) from error
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        self._task.add_done_callback(lambda _: self._server.serving.set())
        await self._server.serving.wait()
        if self._task.done():
            self._task.result()

    def _bind(self) -> socket.socket:
        path = self._address.path
        if path is not None:
            remove_socket(path)
            return _bound(socket.AF_UNIX, str(path), mode=0o600)
        family, *_, place = socket.getaddrinfo(
            self._address.host, self._address.port, type=socket.SOCK_STREAM
        )[0]
        return _bound(family, place)

    async def close(self) -> None:
        """Stop; requests under way are finished. Idempotent."""
        if self._task is None:
            return
        self._server.should_exit = True
        await self._task
        if self._address.path is not None:
            remove_socket(self._address.path)


def _bound(family: int, place: Any, mode: int | None = None) -> socket.socket:
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        if mode is not None:
            # Before `listen`: nobody gets in with other rights.
            os.chmod(place, mode)
        listening.listen()
    except BaseException:
        listening.close()
        raise
    return listening
