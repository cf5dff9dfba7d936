"""One request and the response to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from anywasm.server.http.errors import ExchangeStateError, InvalidResponseError
from anywasm.server.http.fields import (
    encode_fields,
    error_body,
    informational_head,
    upgrade_head,
)
from anywasm.server.http.head import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, encode_head
from anywasm.server.http.request import Header, Headers, Request

if TYPE_CHECKING:
    from anywasm.server.http.connection import HttpConnection
    from anywasm.server.http.handler import RequestHandler, UpgradedData
    from anywasm.server.http.limits import HttpLimits

log = logging.getLogger("anywasm.server.http")

# States. A response is accepted from OPEN on, data from STARTED on; raw bytes when UPGRADED, until
# the handler has ENDED its direction.
_NEW, _OPEN, _STARTED, _UPGRADED, _ENDED, _COMPLETE, _RESET = range(7)
# Copying a body behind its head costs less than a second buffer only while it is small.
_JOIN_BELOW = 64 * 1024


class HttpExchange(Request):
    """The request that was parsed, and the methods that answer it.

    Owned by its connection; used on the event loop only. The codec owns `connection`,
    `transfer-encoding` and, where the caller gives none, `content-length`, `date` and `server`;
    other hop-by-hop headers are the caller's affair. `connection: close` of the caller is obeyed.

    Where a `content-length` of the caller does not fit what is sent, the connection is cut, so
    that a truncated body never looks complete.

    After `on_reset` every response method is silently without effect, because a caller that waits
    for something learns of the reset too late. Called out of order they raise
    `ExchangeStateError`.

    Attributes:
        connection: Where it came from.
        handler: The handler, from the return of the factory to the end of the exchange.
        hold_continue: Set in `on_request_headers` to hold back the automatic `100 Continue`; send
            it later with `send_informational(100)`.
    """

    __slots__ = (
        "_close",
        "_framing",
        "_on_upgraded_data",
        "_remaining",
        "_state",
        "connection",
        "handler",
        "hold_continue",
    )

    def __init__(
        self,
        connection: HttpConnection,
        method: bytes,
        target: bytes,
        http_version: str,
        headers: Headers,
        keep_alive: bool,
        content_length: int | None,
        has_body: bool,
        expect_continue: bool,
    ) -> None:
        # Not through super().__init__: one call less on every request.
        self.method = method
        self.target = target
        self.http_version = http_version
        self.headers = headers
        self.keep_alive = keep_alive
        self.content_length = content_length
        self.has_body = has_body
        self.expect_continue = expect_continue
        self.received = not has_body
        self.hold_continue = False
        self.connection = connection
        self.handler: RequestHandler | None = None
        self._state = _NEW
        self._framing = NO_BODY
        self._remaining = 0
        self._close = False
        self._on_upgraded_data: UpgradedData | None = None

    # --- the connection ---------------------------------------------------------------------------

    @property
    def connection_id(self) -> int:
        """Number of the connection, unique in the process."""
        return self.connection.id

    @property
    def peer_address(self) -> tuple[str, int] | None:
        """The client's address and port; None on a Unix socket."""
        return self.connection.peer_address

    @property
    def client(self) -> bytes | None:
        """The client's address without its port, as headers tell it; None on a Unix socket."""
        return self.connection.client

    @property
    def local_address(self) -> tuple[str, int] | None:
        """The address and port that the client connected to; None on a Unix socket."""
        return self.connection.local_address

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.connection.is_tls

    @property
    def limits(self) -> HttpLimits:
        """The listener's limits."""
        return self.connection.shared.limits

    # --- state ------------------------------------------------------------------------------------

    @property
    def response_started(self) -> bool:
        """The response's head was sent: a failure can only be told by `reset`."""
        return self._state >= _STARTED

    @property
    def ended(self) -> bool:
        """`on_complete` or `on_reset` is done or under way."""
        return self._state >= _COMPLETE

    @property
    def writable(self) -> bool:
        """The client keeps up; False between `on_unwritable` and `on_writable`."""
        return not self.connection.write_paused

    @property
    def ends_by_close(self) -> bool:
        """The client takes the end of the connection for the end of the body."""
        return self.upgraded or (self._state == _STARTED and self._framing == UNTIL_CLOSE)

    @property
    def asks_upgrade(self) -> bool:
        """The client would like to go on with the protocol that its `upgrade` header names."""
        return (
            self.http_version == "1.1"
            and any(name == b"upgrade" for name, _ in self.headers)
            and any(
                option.strip() == b"upgrade"
                for name, value in self.headers
                if name == b"connection"
                for option in value.lower().split(b",")
            )
        )

    @property
    def upgraded(self) -> bool:
        """The connection speaks another protocol; not any more once the exchange has ended."""
        return _UPGRADED <= self._state <= _ENDED

    @property
    def raw_ended(self) -> bool:
        """`close_raw` was called, and the client has yet to end its direction."""
        return self._state == _ENDED

    # --- the response -----------------------------------------------------------------------------

    def respond(self, status: int, headers: Sequence[Header] = (), body: bytes = b"") -> None:
        """Send a whole response, head and body in one write.

        Raises:
            InvalidResponseError: The status or a header cannot be sent; nothing was.
            ExchangeStateError: The response was already started.
        """
        if self._state != _OPEN and self._dropped("respond"):
            return
        head = self._encode_head(status, headers, len(body))
        self._state = _STARTED
        framing = self._framing
        if framing == NO_BODY:
            body = b""
        elif framing == LENGTH and self._remaining != len(body):
            self.connection.write(head)
            self._cut_wrong_length()
            return
        if len(body) < _JOIN_BELOW:
            self.connection.write(head + body)
        else:
            self.connection.writelines((head, body))
        self.connection.exchange_done(self, self._close, None)

    def send_headers(
        self, status: int, headers: Sequence[Header] = (), end_stream: bool = False
    ) -> None:
        """Send the head of a response; the body follows unless `end_stream`.

        Without a `content-length` the body is chunked, or ended by closing for HTTP/1.0.

        Raises:
            InvalidResponseError: The status or a header cannot be sent; nothing was.
            ExchangeStateError: The response was already started.
        """
        if end_stream:
            self.respond(status, headers)
            return
        if self._state != _OPEN and self._dropped("send_headers"):
            return
        head = self._encode_head(status, headers, None)
        self._state = _STARTED
        self.connection.write(head)

    def send_data(self, data: bytes, end_stream: bool = False) -> None:
        """Send a piece of the body, which may be empty.

        Nothing is refused while unwritable: a caller that ignores `on_unwritable` buffers here.

        Raises:
            ExchangeStateError: No head was sent, or the response had ended.
        """
        if self._state != _STARTED and self._dropped("send_data"):
            return
        framing = self._framing
        connection = self.connection
        if framing == CHUNKED:
            if data:
                end = b"\r\n0\r\n\r\n" if end_stream else b"\r\n"
                connection.writelines((b"%x\r\n" % len(data), data, end))
            elif end_stream:
                connection.write(b"0\r\n\r\n")
        elif framing == LENGTH:
            self._remaining -= len(data)
            if self._remaining < 0 or (end_stream and self._remaining):
                self._cut_wrong_length()
                return
            connection.write(data)
        elif framing == UNTIL_CLOSE:
            connection.write(data)
        if end_stream:
            self._finish()

    def send_trailers(self, trailers: Sequence[Header]) -> None:
        """End the response with trailers; they are dropped where the body is not chunked.

        Raises:
            InvalidResponseError: A trailer cannot be sent; nothing was.
            ExchangeStateError: No head was sent, or the response had ended.
        """
        if self._state != _STARTED and self._dropped("send_trailers"):
            return
        block = encode_fields(trailers, keep_length=False)[0]
        if self._framing != CHUNKED:
            self.send_data(b"", end_stream=True)
            return
        self.connection.write(b"0\r\n" + block + b"\r\n")
        self._finish()

    def send_informational(self, status: int, headers: Sequence[Header] = ()) -> None:
        """Send a 1xx head before the response; HTTP/1.0 clients are spared it.

        Raises:
            InvalidResponseError: No informational status, or 101, which `upgrade` sends.
            ExchangeStateError: The response was already started.
        """
        if self._state != _OPEN and self._dropped("send_informational"):
            return
        head = informational_head(status, headers)
        if status == 100:
            self.expect_continue = False
        if self.http_version == "1.1":
            self.connection.write(head)

    def upgrade(self, headers: Sequence[Header], on_upgraded_data: UpgradedData) -> None:
        """Send a 101: from here on raw bytes go both ways, until both sides have ended theirs.

        The end is `on_complete`, or `on_reset` where the connection goes away before. Over TLS no
        direction can be closed alone: the client's end comes as `on_reset`, and `close_raw` ends
        both. `pause_reading` and `on_unwritable` work as before.

        Args:
            headers: `upgrade` among them; `connection` is added.
            on_upgraded_data: Called with what the client sends, at last with empty bytes and
                True. An exception leaving it is logged and resets the exchange.

        Raises:
            InvalidResponseError: The client does not ask for an upgrade, or the headers cannot be
                sent; nothing was.
            ExchangeStateError: The response was already started, the request was not delivered to
                its end, or the client went on without waiting for the answer.
        """
        if self._state != _OPEN and self._dropped("upgrade"):
            return
        if not self.asks_upgrade:
            raise InvalidResponseError("the client does not ask for another protocol")
        head = upgrade_head(headers)
        self.connection.switch()
        self._on_upgraded_data = on_upgraded_data
        self._state = _UPGRADED
        self.connection.write(head)

    def send_raw(self, data: bytes) -> None:
        """Send bytes of the protocol switched to.

        Raises:
            ExchangeStateError: There was no `upgrade`, or `close_raw` was called.
        """
        if self._state != _UPGRADED and self._dropped("send_raw"):
            return
        self.connection.write(data)

    def close_raw(self) -> None:
        """End this direction of the protocol switched to.

        The client then has to end its own, or to send something, every `HttpLimits.body_timeout`.

        Raises:
            ExchangeStateError: There was no `upgrade`, or this was called before.
        """
        if self._state != _UPGRADED and self._dropped("close_raw"):
            return
        self._state = _ENDED
        if not self.connection.end_raw():
            self.connection.exchange_done(self, True, None)

    def reset(self, reason: str = "reset by the handler") -> None:
        """End the exchange without completing it: what was sent reaches the client, then a cut.

        Calls `on_reset(reason)`. Without effect once the exchange has ended.
        """
        if self._state < _COMPLETE:
            self.connection.cut(reason)

    def pause_reading(self) -> None:
        """Deliver nothing more of the request until `resume_reading`, and stop reading it.

        While paused, a client that goes away is noticed only by writing to it.
        """
        if self._state < _COMPLETE:
            self.connection.hold(True)

    def resume_reading(self) -> None:
        """Undo `pause_reading`; delivery starts again soon, not from inside this call."""
        if self._state < _COMPLETE:
            self.connection.hold(False)

    # --- for the connection -----------------------------------------------------------------------

    def open(self, handler: RequestHandler) -> None:
        """Let the connection give the exchange to its handler."""
        self.handler = handler
        self._state = _OPEN

    def send_continue(self) -> None:
        """Let the connection ask for the body, unless that is held back or needless."""
        if self._state == _OPEN and not (self.hold_continue or self.received):
            self.send_informational(100)

    def fail(self, status: int, detail: str, reason: str, close: bool) -> None:
        """Let the connection end the exchange with an error answer, or a cut if it is too late."""
        if self._state >= _STARTED:
            self.reset(reason)
            return
        if close:
            self.keep_alive = False
        body = error_body(detail)
        head = self._encode_head(status, [(b"content-type", b"application/json")], len(body))
        self.connection.write(head if self._framing == NO_BODY else head + body)
        self._finish(reason)

    def receive_raw(self, data: bytes, end_stream: bool) -> None:
        """Let the connection deliver what the client sends after an upgrade."""
        assert self._on_upgraded_data is not None
        self._on_upgraded_data(data, end_stream)
        if end_stream and self._state == _ENDED:
            self.connection.exchange_done(self, True, None)

    def end(self, reset_reason: str | None) -> None:
        """Let the connection tell the handler that it is over; None: completely answered."""
        self._state = _COMPLETE if reset_reason is None else _RESET
        handler, self.handler = self.handler, None
        if handler is None:
            return
        try:
            if reset_reason is None:
                handler.on_complete()
            else:
                handler.on_reset(reset_reason)
        except Exception:
            log.exception("a handler failed at the end of its exchange")

    # --- inner ------------------------------------------------------------------------------------

    def _encode_head(self, status: int, headers: Sequence[Header], length: int | None) -> bytes:
        shared = self.connection.shared
        head, self._framing, self._remaining, close = encode_head(
            self, status, headers, length, shared
        )
        self._close = close
        return head

    def _finish(self, reset_reason: str | None = None) -> None:
        self.connection.exchange_done(self, self._close, reset_reason)

    def _cut_wrong_length(self) -> None:
        reason = "the body does not have the length that the response's content-length names"
        log.error("%s %s: %s; cutting the connection", self.method, self.target, reason)
        self.reset(reason)

    def _dropped(self, call: str) -> bool:
        if self._state == _RESET:
            return True
        states = ("not yet open", "open", "started", "upgraded", "ended", "complete")
        raise ExchangeStateError(f"{call}() on a response that is {states[self._state]}")
