"""One request to an upstream and the response to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anywasm.server.http.request import Header, Headers
from anywasm.server.upstream.codec import encode_request_head
from anywasm.server.upstream.errors import StreamStateError
from anywasm.server.upstream.failure import FailureReason, UpstreamFailure
from anywasm.server.upstream.head import CHUNKED, LENGTH, encode_request_fields
from anywasm.server.upstream.parser import ResponseHead

if TYPE_CHECKING:
    from anywasm.server.upstream.connection import UpstreamConnection
    from anywasm.server.upstream.handler import ResponseHandler, UpgradedData
    from anywasm.server.upstream.parser import Event
    from anywasm.server.upstream.pool import UpstreamPool

log: Final = logging.getLogger("anywasm.server.upstream")

# What may be sent twice without harm (RFC 9110, 9.2.2).
_IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

# This side of the stream: the body is being sent, raw bytes are after a 101, all was sent.
_BODY: Final = 0
_RAW: Final = 1
_SENT: Final = 2


class UpstreamStream:
    """Made by `UpstreamPool.request`; sends the rest of the request. Used on the event loop only.

    What is sent before there is a connection waits here; past `Cluster.high_water` bytes the
    stream is unwritable. The codec owns `connection` and `transfer-encoding`; without a
    `content-length` of the caller a body is chunked. Where a `content-length` does not fit what is
    sent, the stream is reset, so that a truncated body never looks complete.

    After the stream has ended every method is silently without effect, because a caller that is
    still sending learns of the end too late. Called out of order they raise `StreamStateError`.

    Attributes:
        handler: Told of the response; another may take its place.
        method: The method.
        asks_upgrade: A 101 is welcome.
        closes: The caller wants the connection closed after the response.
        reading: Not between `pause_reading` and `resume_reading`.
        ended: `on_upstream_complete` or `on_upstream_reset` is done or under way.
        writable: The upstream keeps up; False between the unwritable and the writable callback.
    """

    __slots__ = (
        "_buffer",
        "_buffered",
        "_connection",
        "_framing",
        "_on_upgraded_data",
        "_peer_closed",
        "_pool",
        "_remaining",
        "_replay",
        "_side",
        "_upgraded",
        "asks_upgrade",
        "closes",
        "ended",
        "handler",
        "method",
        "reading",
        "writable",
    )

    def __init__(
        self,
        pool: UpstreamPool,
        handler: ResponseHandler,
        method: bytes,
        target: bytes,
        headers: Sequence[Header],
        end_stream: bool,
        on_upgraded_data: UpgradedData | None,
    ) -> None:
        self.asks_upgrade = on_upgraded_data is not None
        head, self._framing, self._remaining, self.closes = encode_request_head(
            method, target, headers, end_stream, self.asks_upgrade
        )
        self.method = method
        self.reading = True
        self.ended = False
        self._pool = pool
        self.handler = handler
        self._on_upgraded_data = on_upgraded_data
        self._side = _SENT if end_stream else _BODY
        self._connection: UpstreamConnection | None = None
        self._buffer = [head]
        self._buffered = 0
        # Kept while sending it again is allowed: once, and as long as it is all that was sent.
        self._replay = head if method in _IDEMPOTENT else None
        self.writable = True
        self._upgraded = False
        self._peer_closed = False

    # --- state ------------------------------------------------------------------------------------

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """The upstream's address and port; None on a Unix socket and before the connection."""
        return None if self._connection is None else self._connection.remote_address

    @property
    def local_address(self) -> tuple[str, int] | None:
        """This side's address and port; None on a Unix socket and before the connection."""
        return None if self._connection is None else self._connection.local_address

    # --- the request ------------------------------------------------------------------------------

    def send_data(self, data: bytes, end_stream: bool = False) -> None:
        """Send a piece of the body, which may be empty.

        Nothing is refused while unwritable: a caller that ignores the callback buffers here.

        Raises:
            StreamStateError: The request had ended.
        """
        if self._dropped("send_data", _BODY):
            return
        if self._framing == LENGTH:
            self._remaining -= len(data)
            if self._remaining < 0 or (end_stream and self._remaining):
                self._wrong_length()
                return
        if end_stream:
            self._side = _SENT
        if self._framing == CHUNKED:
            if data:
                end = b"\r\n0\r\n\r\n" if end_stream else b"\r\n"
                self._write(b"%x\r\n" % len(data), data, end)
            elif end_stream:
                self._write(b"0\r\n\r\n")
        elif data:
            self._write(data)

    def send_trailers(self, trailers: Sequence[Header]) -> None:
        """End the request with trailers; they are dropped where the body is not chunked.

        Raises:
            InvalidRequestError: A trailer cannot be sent; nothing was.
            StreamStateError: The request had ended.
        """
        if self._dropped("send_trailers", _BODY):
            return
        block = encode_request_fields(trailers, keep_length=False)[0]
        if self._framing != CHUNKED:
            self.send_data(b"", end_stream=True)
            return
        self._side = _SENT
        self._write(b"0\r\n", block, b"\r\n")

    def send_raw(self, data: bytes) -> None:
        """Send bytes of the protocol that the upstream has switched to.

        Raises:
            StreamStateError: No 101 was delivered, or `close_raw` was called.
        """
        if not self._dropped("send_raw", _RAW):
            self._write(data)

    def close_raw(self) -> None:
        """End this direction of a switched protocol; the stream ends when both have.

        Where the transport cannot close one direction alone (TLS), both end.

        Raises:
            StreamStateError: No 101 was delivered, or this was called before.
        """
        if self._dropped("close_raw", _RAW):
            return
        self._side = _SENT
        assert self._connection is not None
        if self._peer_closed or not self._connection.write_eof():
            self._complete()

    def reset(self, detail: str = "reset by the caller") -> None:
        """End the stream without completing it; calls `on_upstream_reset`."""
        self.fail(UpstreamFailure(FailureReason.LOCAL_RESET, detail))

    def pause_reading(self) -> None:
        """Deliver nothing more of the response until `resume_reading`, and stop reading it.

        While paused, an upstream that goes away is noticed only by writing to it.
        """
        self._read(False)

    def resume_reading(self) -> None:
        """Undo `pause_reading`; delivery starts again soon, not from inside this call."""
        self._read(True)

    # --- for the pool and the connection ----------------------------------------------------------

    def attach(self, connection: UpstreamConnection) -> list[bytes]:
        """Let the connection take the request over, which sends what has waited."""
        self._connection = connection
        pieces, self._buffer = self._buffer, []
        self._buffered = 0
        return pieces

    def rewind(self) -> bool:
        """Let the connection ask to send the request again elsewhere; True if that is allowed."""
        if self._replay is None:
            return False
        self._buffer = [self._replay]
        self._replay = self._connection = None
        return True

    def update_writable(self, writable: bool) -> None:
        """Let the connection tell the handler whether the upstream keeps up."""
        if writable is self.writable or self.ended:
            return
        self.writable = writable
        try:
            if writable:
                self.handler.on_upstream_writable()
            else:
                self.handler.on_upstream_unwritable()
        except Exception:
            self._handler_failed()

    def receive(self, event: Event) -> None:
        """Let the connection deliver what it has parsed."""
        try:
            if isinstance(event, bytes):
                if self._upgraded:
                    self._receive_raw(event, False)
                else:
                    self.handler.on_response_data(event, False)
            elif isinstance(event, ResponseHead):
                self._receive_head(event)
            elif isinstance(event, list):
                self._receive_end(event)
            else:
                self.fail(event)
        except Exception:
            self._handler_failed()

    def receive_whole(self, status: int, headers: Headers, body: bytes) -> bool:
        """Let the connection deliver a response at once; False where the handler wants it in turn.

        See `WholeResponseHandler`.
        """
        take = getattr(self.handler, "on_whole_response", None)
        if take is None:
            return False
        try:
            take(status, headers, body)
        except Exception:
            self._handler_failed()
        else:
            self._complete()
        return True

    def fail(self, failure: UpstreamFailure) -> None:
        """End the stream with a failure; without effect once it has ended."""
        if self.ended:
            return
        self.ended = True
        self._buffer = []
        if self._connection is None:
            self._pool.cancel(self)
        else:
            self._connection.give_up(self)
        if failure.reason is not FailureReason.LOCAL_RESET:
            self._pool.counters.failures += 1
        try:
            self.handler.on_upstream_reset(failure)
        except Exception:
            log.exception("a handler failed at the end of its stream")

    # --- inner ------------------------------------------------------------------------------------

    def _receive_head(self, head: ResponseHead) -> None:
        status = head.status
        if status >= 200:
            self.handler.on_response_headers(status, head.headers, head.end_stream)
            if head.end_stream:
                self._complete()
        elif status == 101:
            self._upgraded = True
            self._side = _RAW
            self.handler.on_response_headers(status, head.headers, False)
        else:
            self.handler.on_informational(status, head.headers)

    def _receive_end(self, trailers: list[Header]) -> None:
        if self._upgraded:
            self._peer_closed = True
            self._receive_raw(b"", True)
            assert self._connection is not None
            if self._side == _RAW and self._connection.can_write_eof:
                return  # the other direction is still open
        elif trailers:
            self.handler.on_response_trailers(trailers)
        else:
            self.handler.on_response_data(b"", True)
        self._complete()

    def _receive_raw(self, data: bytes, end_stream: bool) -> None:
        assert self._on_upgraded_data is not None  # the parser lets no other 101 pass
        self._on_upgraded_data(data, end_stream)

    def _complete(self) -> None:
        if self.ended:
            return
        self.ended = True
        assert self._connection is not None
        # Whatever of the request is not with the transport by now is not sent.
        self._connection.finished(self._side == _SENT and not self.closes, self._upgraded)
        try:
            self.handler.on_upstream_complete()
        except Exception:
            log.exception("a handler failed at the end of its stream")

    def _write(self, *pieces: bytes) -> None:
        self._replay = None
        connection = self._connection
        if connection is None:
            self._buffer += pieces
            self._buffered += sum(map(len, pieces))
            if self._buffered > self._pool.cluster.high_water:
                self.update_writable(False)
        elif len(pieces) == 1:
            connection.write(pieces[0])
        else:
            connection.writelines(pieces)

    def _read(self, reading: bool) -> None:
        if self.ended:
            return
        self.reading = reading
        if self._connection is not None:
            self._connection.update_reading()

    def _wrong_length(self) -> None:
        detail = "the body does not have the length that the request's content-length names"
        log.error("upstream %s: %s; resetting the stream", self._pool.cluster.name, detail)
        self.reset(detail)

    def _handler_failed(self) -> None:
        log.exception("the handler of a request to upstream %s failed", self._pool.cluster.name)
        self.reset("the handler failed")

    def _dropped(self, call: str, side: int) -> bool:
        if self.ended:
            return True
        if self._side != side:
            sides = ("still sending its body", "upgraded", "sent")
            raise StreamStateError(f"{call}() on a request that is {sides[self._side]}")
        return False
