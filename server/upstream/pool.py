"""The connections to one cluster, and the requests that wait for one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from anywasm.core.errors import ClosedError
from anywasm.server.http.request import Header
from anywasm.server.upstream.attempt import Attempt
from anywasm.server.upstream.counters import UpstreamCounters
from anywasm.server.upstream.endpoints import Endpoints
from anywasm.server.upstream.failure import FailureReason, UpstreamFailure
from anywasm.server.upstream.stream import UpstreamStream

if TYPE_CHECKING:
    from anywasm.server.upstream.cluster import Cluster
    from anywasm.server.upstream.connection import UpstreamConnection
    from anywasm.server.upstream.handler import ResponseHandler, UpgradedData


class UpstreamPool:
    """Sends requests over keep-alive connections; belongs to the event loop that first uses it.

    The connection used last is used next, so that the others grow idle and are closed. Where none
    is free one is made, up to `Cluster.max_connections`; the request waits for whichever is there
    first. There is a task only while a connection is being made, and one timer for all that is
    idle.

    Args:
        cluster: Where to, and how much.

    Raises:
        ConfigError: The cluster's CA file cannot be used.

    Attributes:
        cluster: As given.
        tls: The context of all connections; None for plain ones.
        counters: Totals.
    """

    _loop: asyncio.AbstractEventLoop  # from the first connection on

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.tls = None if cluster.tls is None else cluster.tls.context()
        self.counters = UpstreamCounters()
        self._endpoints = Endpoints(cluster.addresses)
        self._open: set[UpstreamConnection] = set()
        self._idle: list[UpstreamConnection] = []
        self._attempts: set[Attempt] = set()
        self._pending: deque[UpstreamStream] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._open)

    @property
    def connecting(self) -> int:
        """Connections being made now."""
        return len(self._attempts)

    @property
    def active(self) -> int:
        """Open connections with a request under way, or just closing."""
        return len(self._open) - len(self._idle)

    @property
    def pending(self) -> int:
        """Requests that wait for a connection."""
        return len(self._pending)

    def request(
        self,
        handler: ResponseHandler,
        method: bytes,
        target: bytes,
        headers: Sequence[Header],
        end_stream: bool = True,
        on_upgraded_data: UpgradedData | None = None,
    ) -> UpstreamStream:
        """Send a request; the response is told to the handler.

        Whatever goes wrong from here on is told to the handler too, later. A request that finds
        its connection just closed is sent once more, if that is harmless: an idempotent method
        (RFC 9110, 9.2.2), nothing of the body sent, not a byte of a response seen.

        Args:
            handler: Told of the response.
            method: The method; not `CONNECT`.
            target: Path and query.
            headers: `host` among them. Hop-by-hop headers are the caller's affair, except
                `connection` (of which only `close` is obeyed) and `transfer-encoding`, which are
                not sent. A `content-length` is kept to; without one a body is chunked.
            end_stream: There is no body.
            on_upgraded_data: Ask for the protocol that the `upgrade` header names. If the
                upstream agrees, the handler gets a head with status 101 and this the bytes.

        Raises:
            InvalidRequestError: The request cannot be put on the wire.
            ClosedError: The pool is closed.
        """
        if self._closed:
            raise ClosedError(f"the pool of upstream cluster {self.cluster.name!r} is closed")
        stream = UpstreamStream(
            self, handler, method, target, headers, end_stream, on_upgraded_data
        )
        self.counters.requests += 1
        if self._idle:
            self._idle.pop().start(stream)
        elif len(self._pending) < self.cluster.max_pending:
            self._pending.append(stream)
            self._connect()
        else:
            self.counters.overflows += 1
            detail = f"{self.cluster.max_pending} requests wait for a connection already"
            asyncio.get_running_loop().call_soon(
                stream.fail, UpstreamFailure(FailureReason.OVERFLOW, detail)
            )
        return stream

    def close(self) -> None:
        """Close every connection and reset every stream."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in tuple(self._attempts):
            attempt.cancel()
        self._attempts.clear()
        streams = [connection.stream for connection in self._open]
        for connection in tuple(self._open):
            if connection.stream is None:
                connection.close()
        for stream in (*self._pending, *streams):
            if stream is not None:
                stream.reset("the upstream pool was closed")

    # --- for streams, connections and attempts ----------------------------------------------------

    def cancel(self, stream: UpstreamStream) -> None:
        """Forget a stream that may be waiting."""
        if stream in self._pending:
            self._pending.remove(stream)

    def retry(self, stream: UpstreamStream) -> None:
        """Send a request again, before all that wait, on a connection that proves to be alive."""
        self.counters.retries += 1
        self._pending.appendleft(stream)
        self._connect()

    def connected(self, attempt: Attempt, connection: UpstreamConnection) -> None:
        """Take a new connection over."""
        self._attempts.discard(attempt)
        self._endpoints.connected(attempt.endpoint)
        self.counters.connects += 1
        self._loop = asyncio.get_running_loop()
        self._open.add(connection)
        self.release(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Give a connection the next request, or let it rest."""
        if self._pending:
            connection.start(self._pending.popleft())
            return
        loop = self._loop
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._timer is None:
            self._timer = loop.call_later(self.cluster.idle_timeout, self._sweep, loop)

    def retire(self, connection: UpstreamConnection) -> None:
        """Use a connection no more."""
        if connection in self._idle:
            self._idle.remove(connection)

    def disconnected(self, connection: UpstreamConnection) -> None:
        """Forget a connection that is gone; there may be room for another."""
        self.retire(connection)
        self._open.discard(connection)
        self._connect()

    def attempt_failed(self, attempt: Attempt, failure: UpstreamFailure) -> None:
        """Try another endpoint, or give up.

        Where nothing else is open or on its way, all that wait have failed with it, as in Envoy;
        otherwise as many as no other attempt is made for, but one only while connections are
        open that may come free for the rest.
        """
        self._attempts.discard(attempt)
        self._endpoints.failed(attempt.endpoint, asyncio.get_running_loop().time())
        self.counters.connect_failures += 1
        if attempt.left and self._pending:
            self._attempt(attempt.left)
            return
        count = max(0, len(self._pending) - len(self._attempts))
        if self._open:
            count = min(count, 1)
        for stream in [self._pending.popleft() for _ in range(count)]:
            stream.fail(failure)
        self._connect()

    # --- inner ------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Make connections for the requests that wait, as far as allowed."""
        limit = self.cluster.max_connections
        while (
            len(self._attempts) < len(self._pending)
            and len(self._open) + len(self._attempts) < limit
        ):
            self._attempt(len(self._endpoints))

    def _attempt(self, left: int) -> None:
        loop = asyncio.get_running_loop()
        attempt = Attempt(self, self._endpoints.pick(loop.time()), left - 1)
        self._attempts.add(attempt)
        attempt.start(loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        timeout = self.cluster.idle_timeout
        expired = loop.time() - timeout
        # The longest idle are in front.
        while self._idle and self._idle[0].idle_since <= expired:
            self._idle[0].close()
        if self._idle:
            when = self._idle[0].idle_since + timeout
            self._timer = loop.call_at(when, self._sweep, loop)
