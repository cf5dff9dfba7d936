"""One try to connect to one endpoint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from anywasm.server.upstream.connection import UpstreamConnection
from anywasm.server.upstream.failure import FailureReason, UpstreamFailure

if TYPE_CHECKING:
    from anywasm.server.upstream.cluster import Endpoint
    from anywasm.server.upstream.pool import UpstreamPool


class Attempt:
    """The only task of a pool: it lives while name lookup, connect and TLS handshake take.

    Args:
        pool: Told how it went.
        endpoint: Where to connect.
        left: How many other endpoints may be tried for the same purpose.
    """

    __slots__ = ("_over", "_pool", "_task", "_timer", "endpoint", "left")

    _task: asyncio.Task[object]
    _timer: asyncio.TimerHandle

    def __init__(self, pool: UpstreamPool, endpoint: Endpoint, left: int) -> None:
        self._pool = pool
        self._over = False
        self.endpoint = endpoint
        self.left = left

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; the pool hears of it later, never from inside this call."""
        self._task = loop.create_task(self._connect(loop))
        self._task.add_done_callback(self._done)
        self._timer = loop.call_later(self._pool.cluster.connect_timeout, self._task.cancel)

    def cancel(self) -> None:
        """Stop without a word to the pool."""
        self._over = True
        self._timer.cancel()
        self._task.cancel()

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> object:
        tls = self._pool.cluster.tls
        name = None if tls is None else tls.server_name
        if isinstance(self.endpoint, str):
            return await loop.create_unix_connection(
                self._new_connection, self.endpoint, ssl=self._pool.tls, server_hostname=name
            )
        return await loop.create_connection(
            self._new_connection, *self.endpoint, ssl=self._pool.tls, server_hostname=name
        )

    def _new_connection(self) -> asyncio.Protocol:
        return cast("asyncio.Protocol", UpstreamConnection(self._pool, self._connected))

    def _connected(self, connection: UpstreamConnection) -> None:
        # The task ends a little later; a timeout between would take the connection away from the
        # request that it was given to.
        self._timer.cancel()
        if self._over:
            connection.close()
            return
        self._over = True
        self._pool.connected(self, connection)

    def _done(self, task: asyncio.Task[object]) -> None:
        self._timer.cancel()
        error = None if task.cancelled() else task.exception()
        if self._over:
            return
        self._over = True
        where = self.endpoint if isinstance(self.endpoint, str) else "{}:{}".format(*self.endpoint)
        if error is None:
            timeout = self._pool.cluster.connect_timeout
            detail = f"no connection to {where} within {timeout:g} s"
            failure = UpstreamFailure(FailureReason.CONNECTION_TIMEOUT, detail)
        else:
            detail = f"no connection to {where}: {error}"
            failure = UpstreamFailure(FailureReason.CONNECTION_FAILURE, detail)
        self._pool.attempt_failed(self, failure)
