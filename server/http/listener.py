"""A listening socket and its connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl as ssl_module
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.errors import ConfigError
from anywasm.server.http.acceptor import Acceptor
from anywasm.server.http.connection import HttpConnection
from anywasm.server.http.limits import HttpLimits
from anywasm.server.http.state import ListenerState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anywasm.server.http.counters import Counters
    from anywasm.server.http.handler import HandlerFactory

_BACKLOG = 1024
#: Seconds in which a connection that was accepted is certainly set up, TLS aside.
_ARRIVAL = 0.05


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
        sockets: Listening sockets to accept from instead, which other processes may share. They
            are closed here, with nothing that they stand for.
        ssl: Serve TLS with this context.
        server: Value of the `server` header of responses that have none; None for no header.
        date: Whether responses without a `date` header get one.

    Raises:
        ConfigError: Not exactly one of address, path and sockets was given.
    """

    def __init__(
        self,
        factory: HandlerFactory,
        host: str | None = None,
        port: int = 0,
        limits: HttpLimits | None = None,
        *,
        path: str | None = None,
        sockets: Sequence[socket.socket] = (),
        ssl: ssl_module.SSLContext | None = None,
        server: bytes | None = b"anywasm",
        date: bool = True,
    ) -> None:
        if (host is not None) + (path is not None) + bool(sockets) != 1:
            raise ConfigError("a listener needs a host and port, a Unix socket path, or sockets")
        self._host = host
        self._port = port
        self._path = path
        self._ssl = ssl
        self._given = sockets
        self._state = ListenerState(factory, limits or HttpLimits(), server, date)
        self._server: asyncio.Server | None = None
        self._acceptors: list[Acceptor] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counters(self) -> Counters:
        """Totals from the start to now; they change no more."""
        return self._state.totals()

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
        servers = () if self._server is None else self._server.sockets
        return (*servers, *(acceptor.socket for acceptor in self._acceptors))

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
        timeout = state.limits.header_timeout
        options: dict[str, Any] = {"backlog": _BACKLOG, "ssl": self._ssl}
        if self._ssl is not None:
            options["ssl_handshake_timeout"] = timeout

        def connection() -> asyncio.Protocol:
            return cast("asyncio.Protocol", HttpConnection(state))

        if self._path is not None:
            self._server = await loop.create_unix_server(connection, self._path, **options)
        elif self._host is not None:
            self._server = await loop.create_server(connection, self._host, self._port, **options)
        for shared in self._given:
            self._acceptors.append(Acceptor(shared, connection, self._ssl, timeout))
        self._sweep(loop)
        return self

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._state.tick()
        now = loop.time()
        for connection in tuple(self._state.connections):
            connection.sweep(now)
        self._timer = loop.call_later(self._state.limits.sweep_interval, self._sweep, loop)

    async def drain(self, timeout: float, linger: float = 0.0) -> int:
        """Stop gracefully, then `close`.

        No connection is accepted any more, idle ones are closed, exchanges under way are
        finished, with `connection: close` where their head is not sent yet.

        Args:
            timeout: Seconds to wait for them before the rest is cut.
            linger: Seconds, of these, in which idle connections are kept open for one request
                more. Where others go on accepting, a client that sends one on a kept connection
                just now does not find it closed.

        Returns:
            How many exchanges had to be cut.
        """
        state = self._state
        state.draining = True
        self._stop_accepting()
        state.all_closed = asyncio.Event()
        linger = min(linger, timeout)
        if linger:
            # What was accepted just now is not among the connections yet.
            await asyncio.sleep(min(linger, _ARRIVAL))
            await self._emptied(linger)
        state.refusing = True
        for connection in tuple(state.connections):
            connection.close_if_idle()
        await self._emptied(timeout - linger)
        cut = self.exchanges_active
        self.close()
        return cut

    async def _emptied(self, timeout: float) -> None:
        """Wait until the last connection has gone."""
        if self._state.connections and self._state.all_closed is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._state.all_closed.wait(), timeout)

    def close(self) -> None:
        """Stop at once: every connection is dropped, exchanges under way are reset."""
        self._state.draining = self._state.refusing = True
        self._stop_accepting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in tuple(self._state.connections):
            connection.abort("the server is stopping")

    def _stop_accepting(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()
        if self._server is None:
            return
        self._server.close()
        self._server = None
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
