"""A listening socket and its connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl as ssl_module
from typing import TYPE_CHECKING

from anywasm.core.errors import ConfigError
from anywasm.server.http.connection import HttpConnection
from anywasm.server.http.limits import HttpLimits
from anywasm.server.http.state import ListenerState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anywasm.server.http.counters import Counters
    from anywasm.server.http.handler import HandlerFactory

_BACKLOG = 1024


class Listener:
    """Accepts connections and serves HTTP/1.1 on them; belongs to one event loop.

    `await Listener(factory, "127.0.0.1", 8080).start()`, and at the end `await drain(10)` or
    `close()`. One timer looks after all connections' timeouts; no exchange has a task or timer.

    Args:
        factory: Makes the handler of each exchange.
        host: Address to bind; not with `path`.
        port: Port to bind; 0 takes a free one, see `addresses`.
        limits: What clients may do.
        path: Unix socket to bind instead; removed by `close`.
        ssl: Serve TLS with this context.
        reuse_port: Share the port with other processes.
        server: Value of the `server` header of responses that have none; None for no header.
        date: Whether responses without a `date` header get one.

    Raises:
        ConfigError: Both an address and a path were given, or neither.
    """

    def __init__(
        self,
        factory: HandlerFactory,
        host: str | None = None,
        port: int = 0,
        limits: HttpLimits | None = None,
        *,
        path: str | None = None,
        ssl: ssl_module.SSLContext | None = None,
        reuse_port: bool = False,
        server: bytes | None = b"anywasm",
        date: bool = True,
    ) -> None:
        if (host is None) == (path is None):
            raise ConfigError("a listener needs either a host and port or a Unix socket path")
        self._host = host
        self._port = port
        self._path = path
        self._ssl = ssl
        self._reuse_port = reuse_port
        self._state = ListenerState(factory, limits or HttpLimits(), server, date)
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counters(self) -> Counters:
        """Totals since the start."""
        return self._state.counters

    @property
    def connections_active(self) -> int:
        """Connections open now."""
        return len(self._state.connections)

    @property
    def exchanges_active(self) -> int:
        """Exchanges under way now."""
        return sum(connection.current is not None for connection in self._state.connections)

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The listening sockets; empty before `start` and after `close`."""
        return () if self._server is None else tuple(self._server.sockets)

    @property
    def addresses(self) -> list[tuple[str, int] | str]:
        """What is listened on: address and port, or the Unix socket's path."""
        names = [listening.getsockname() for listening in self.sockets]
        return [(name[0], name[1]) if isinstance(name, tuple) else str(name) for name in names]

    async def start(self) -> Listener:
        """Bind and accept; returns the listener.

        Raises:
            OSError: The address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        state = self._state
        handshake = None if self._ssl is None else state.limits.header_timeout
        if self._path is not None:
            self._server = await loop.create_unix_server(
                lambda: HttpConnection(state),
                self._path,
                backlog=_BACKLOG,
                ssl=self._ssl,
                ssl_handshake_timeout=handshake,
            )
        else:
            self._server = await loop.create_server(
                lambda: HttpConnection(state),
                self._host,
                self._port,
                backlog=_BACKLOG,
                ssl=self._ssl,
                ssl_handshake_timeout=handshake,
                reuse_port=self._reuse_port or None,
            )
        self._sweep(loop)
        return self

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._state.tick()
        now = loop.time()
        for connection in tuple(self._state.connections):
            connection.sweep(now)
        self._timer = loop.call_later(self._state.limits.sweep_interval, self._sweep, loop)

    async def drain(self, timeout: float) -> int:
        """Stop gracefully, then `close`.

        No connection is accepted any more, idle ones are closed, exchanges under way are
        finished, with `connection: close` where their head is not sent yet.

        Args:
            timeout: Seconds to wait for them before the rest is cut.

        Returns:
            How many exchanges had to be cut.
        """
        state = self._state
        state.draining = True
        self._stop_accepting()
        for connection in tuple(state.connections):
            connection.close_if_idle()
        if state.connections:
            state.all_closed = asyncio.Event()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(state.all_closed.wait(), timeout)
        cut = self.exchanges_active
        self.close()
        return cut

    def close(self) -> None:
        """Stop at once: every connection is dropped, exchanges under way are reset."""
        self._state.draining = True
        self._stop_accepting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in tuple(self._state.connections):
            connection.abort("the server is stopping")

    def _stop_accepting(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
