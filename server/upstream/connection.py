"""One connection to an upstream: requests one after the other, their responses back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

from anywasm.server.upstream.failure import FailureReason, UpstreamFailure
from anywasm.server.upstream.parser import ResponseParser
from anywasm.server.writelines import writelines_of

if TYPE_CHECKING:
    from anywasm.server.upstream.pool import UpstreamPool
    from anywasm.server.upstream.stream import UpstreamStream


class UpstreamConnection:
    """The protocol of one connection; lives on the event loop of its pool.

    Bytes are parsed first and delivered afterwards, so that no handler runs inside the parser. It
    is an `asyncio.Protocol` as `HttpConnection` is one.

    Args:
        pool: Whose connection it is.
        on_connected: Called once the connection is up, TLS included.

    Attributes:
        stream: What is under way.
        idle_since: The loop's time at which the last stream ended.
        remote_address: The upstream's address and port; None on a Unix socket.
        local_address: This side's address and port; None on a Unix socket.
        can_write_eof: One direction can be closed alone.
    """

    __slots__ = (
        "_closed",
        "_delivering",
        "_events",
        "_lost",
        "_most",
        "_on_connected",
        "_parser",
        "_pool",
        "_reading",
        "_received",
        "_served",
        "_transport",
        "_write",
        "_write_paused",
        "_writelines",
        "can_write_eof",
        "idle_since",
        "local_address",
        "remote_address",
        "stream",
    )

    _transport: asyncio.Transport
    _write: Callable[[bytes], None]
    _writelines: Callable[[Iterable[bytes]], None]

    def __init__(
        self, pool: UpstreamPool, on_connected: Callable[[UpstreamConnection], None]
    ) -> None:
        self._pool = pool
        self._on_connected = on_connected
        self._parser = ResponseParser(pool.cluster)
        self._events = self._parser.events
        self._most = pool.cluster.max_requests_per_connection
        self.stream: UpstreamStream | None = None
        self.idle_since = 0.0
        self.remote_address: tuple[str, int] | None = None
        self.local_address: tuple[str, int] | None = None
        self.can_write_eof = False
        self._served = 0
        self._received = False  # anything, since the stream began
        self._delivering = False
        self._reading = True
        self._write_paused = False
        self._closed = False  # by this side
        self._lost = False

    # --- called by the transport ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Set up, and tell that the connection can be used."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        cluster = self._pool.cluster
        self._transport.set_write_buffer_limits(high=cluster.high_water, low=cluster.low_water)
        self._write = self._transport.write
        self._writelines = writelines_of(self._transport)
        self.remote_address = _address(transport.get_extra_info("peername"))
        self.local_address = _address(transport.get_extra_info("sockname"))
        self.can_write_eof = self._transport.can_write_eof()
        self._on_connected(self)

    def data_received(self, data: bytes) -> None:
        """Parse and deliver what the upstream sent."""
        stream = self.stream
        if stream is None:
            self.close()  # a response to no request: whose it is cannot be known
            return
        self._received = True
        found = self._parser.plain(data)
        if found is None:
            self._parser.feed(data)
        elif stream.reading and stream.receive_whole(*found):
            if not self._reading:
                self._update_reading()
            return
        else:
            self._parser.emit(*found)
        self._deliver()

    def eof_received(self) -> bool:
        """Take the end of the upstream's bytes for the end of a body, or of the connection."""
        if self.stream is None:
            self.close()
        else:
            self._end(True, "the upstream closed the connection")
        # A switched protocol may go on in the other direction.
        return self.stream is not None and self.can_write_eof and not self._closed

    def connection_lost(self, exc: Exception | None) -> None:
        """End the stream under way, if any."""
        self._lost = True
        # asyncio's TLS transport would complain of not having been closed.
        self._transport.abort()
        self._pool.disconnected(self)
        if self.stream is not None:
            # That TLS tells of the end by this alone, without `eof_received`, before Python 3.11.
            how = "closed" if exc is None else f"failed: {exc}"
            self._end(exc is None, f"the connection to the upstream {how}")

    def pause_writing(self) -> None:
        """Tell the stream that the upstream does not keep up."""
        self._write_paused = True
        self._tell_writable()

    def resume_writing(self) -> None:
        """Tell the stream that the upstream has caught up."""
        self._write_paused = False
        self._tell_writable()

    # --- called by the pool and the stream --------------------------------------------------------

    def start(self, stream: UpstreamStream) -> None:
        """Send a stream's request and expect its response."""
        if self._served:
            self._pool.counters.reused += 1
        self._served += 1
        self._received = False
        self._parser.begin(stream.method, stream.asks_upgrade)
        pieces = stream.attach(self)
        if len(pieces) == 1:
            self._write(pieces[0])
        else:
            self._writelines(pieces)
        # Set only now, so that no callback comes from within the call that asks for the stream.
        self.stream = stream
        if stream.writable is self._write_paused:
            asyncio.get_running_loop().call_soon(self._tell_writable)
        if self._reading is not stream.reading:
            self._update_reading()

    def write(self, data: bytes) -> None:
        """Hand bytes of the request to the transport."""
        if not self._lost:
            self._write(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Hand several pieces to the transport, without joining them where it can do so."""
        if not self._lost:
            self._writelines(pieces)

    def write_eof(self) -> bool:
        """Close this side's direction; False where that is impossible."""
        if self.can_write_eof and not self._lost:
            self._transport.write_eof()
        return self.can_write_eof

    def update_reading(self) -> None:
        """Follow the stream's wish; what was parsed meanwhile is delivered soon."""
        if self.stream is not None and self.stream.reading:
            asyncio.get_running_loop().call_soon(self._deliver)
        self._update_reading()

    def finished(self, keep: bool, flush: bool) -> None:
        """Go on after a complete response: to the next request, or to the end.

        Args:
            keep: As far as the stream is concerned there may be another request.
            flush: Send what is unsent before closing.
        """
        self.stream = None
        if (
            keep
            and self._parser.reusable
            and not (self._events or self._closed or self._lost or self._write_paused)
            and (self._most is None or self._served < self._most)
        ):
            self._pool.release(self)
        elif flush:
            self._closed = True
            self._transport.close()
        else:
            self.close()

    def give_up(self, stream: UpstreamStream) -> None:
        """Close under a stream that has failed."""
        if self.stream is stream:
            self.stream = None
            self.close()

    def close(self) -> None:
        """Close at once; nothing that is unsent matters any more."""
        self._closed = True
        self._events.clear()
        self._pool.retire(self)
        if not self._lost:
            self._transport.abort()

    # --- inner ------------------------------------------------------------------------------------

    def _end(self, clean: bool, detail: str) -> None:
        stream = self.stream
        if stream is not None and self._served > 1 and not self._received and stream.rewind():
            self.stream = None
            self.close()
            self._pool.retry(stream)
            return
        self._parser.finish(clean, detail)
        self._deliver()

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        events = self._events
        while events and (stream := self.stream) is not None and stream.reading:
            stream.receive(events.popleft())
        self._delivering = False
        stream = self.stream
        if stream is not None and self._lost and not events:
            # The upstream had ended its direction of a switched protocol, but this side had not.
            stream.fail(
                UpstreamFailure(FailureReason.CONNECTION_TERMINATION, "the connection was lost")
            )
        self._update_reading()

    def _update_reading(self) -> None:
        reading = self.stream is None or self.stream.reading
        if reading is not self._reading and not (self._lost or self._closed):
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _tell_writable(self) -> None:
        if self.stream is not None:
            self.stream.update_writable(not self._write_paused)


def _address(name: Any) -> tuple[str, int] | None:
    return (name[0], name[1]) if isinstance(name, tuple) else None
