"""Serves the management API beside the data plane, with an ordinary ASGI server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import Address


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the process's own decide when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class AdminListener:
    """One listener of the management API. Belongs to one event loop.

    Args:
        app: The API.
        address: Where to listen.
    """

    def __init__(self, app: ASGIApp, address: Address) -> None:
        self._address = address
        self._server = _Server(
            uvicorn.Config(
                app, lifespan="off", log_config=None, access_log=False, server_header=False
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

    async def start(self) -> None:
        """Bind and accept.

        Raises:
            ConfigError: When the address cannot be bound.
        """
        try:
            self._socket = self._bind()
            # From here on clients can connect; uvicorn answers them in a moment.
            self._socket.listen()
        except OSError as error:
            raise ConfigError(
                f"the management API cannot listen on {self._address}: {error.strerror}"
            ) from error
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    def _bind(self) -> socket.socket:
        path = self._address.path
        if path is not None:
            listening = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            listening.bind(str(path))
            os.chmod(path, 0o600)
            return listening
        family, *_, place = socket.getaddrinfo(
            self._address.host, self._address.port, type=socket.SOCK_STREAM
        )[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        return listening

    async def close(self) -> None:
        """Stop; requests under way are finished."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
        if self._address.path is not None:
            with contextlib.suppress(FileNotFoundError):
                self._address.path.unlink()
