"""One request and the response to it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anywasm.server.http.codec import encode_fields, encode_head
from anywasm.server.http.errors import ExchangeStateError, InvalidResponseError
from anywasm.server.http.fields import error_body, informational_head, upgrade_head
from anywasm.server.http.head import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE
from anywasm.server.http.request import Header, Headers, Request

if TYPE_CHECKING:
    from anywasm.server.http.connection import HttpConnection
    from anywasm.server.http.handler import RequestHandler, UpgradedData
    from anywasm.server.http.limits import HttpLimits

log: Final = logging.getLogger("anywasm.server.http")
# Compiled code looks the names of modules up each time, but not what is final.
_encode_head: Final = encode_head

#: States. A response is accepted from OPEN on, data from STARTED on; raw bytes when UPGRADED, until
#: the handler has ENDED its direction.
NEW: Final = 0
OPEN: Final = 1
STARTED: Final = 2
UPGRADED: Final = 3
ENDED: Final = 4
COMPLETE: Final = 5
RESET: Final = 6
#: What is logged of a handler that fails in its last call.
END_FAILED: Final = "a handler failed at the end of its exchange"
# Copying a body behind its head costs less than a second buffer only while it is small.
_JOIN_BELOW: Final = 64 * 1024


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
        state: How far it is; the codec's own.
    """

    __slots__ = (
        "_close",
        "_framing",
        "_on_upgraded_data",
        "_remaining",
        "connection",
        "handler",
        "hold_continue",
        "state",
    )

    # Set by what brings the state in which they are read.
    _close: bool
    _framing: int
    _on_upgraded_data: UpgradedData
    _remaining: int

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
        self.state = NEW

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
        return self.state >= STARTED

    @property
    def ended(self) -> bool:
        """`on_complete` or `on_reset` is done or under way."""
        return self.state >= COMPLETE

    @property
    def writable(self) -> bool:
        """The client keeps up; False between `on_unwritable` and `on_writable`."""
        return not self.connection.write_paused

    @property
    def ends_by_close(self) -> bool:
        """The client takes the end of the connection for the end of the body."""
        return self.upgraded or (self.state == STARTED and self._framing == UNTIL_CLOSE)

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
        return UPGRADED <= self.state <= ENDED

    @property
    def raw_ended(self) -> bool:
        """`close_raw` was called, and the client has yet to end its direction."""
        return self.state == ENDED

    # --- the response -----------------------------------------------------------------------------

    def respond(self, status: int, headers: Sequence[Header] = (), body: bytes = b"") -> None:
        """Send a whole response, head and body in one write.

        Raises:
            InvalidResponseError: The status or a header cannot be sent; nothing was.
            ExchangeStateError: The response was already started.
        """
        if self.state != OPEN and self._dropped("respond"):
            return
        connection = self.connection
        size = len(body)
        head, self._framing, length, close = _encode_head(
            self, status, headers, size, connection.shared
        )
        self.state = STARTED
        if self._framing == NO_BODY:
            connection.write_last(self, head, close)
        elif length != size:
            connection.write(head)
            self._cut_wrong_length()
        elif size < _JOIN_BELOW:
            connection.write_last(self, head + body, close)
        else:
            connection.writelines((head, body))
            connection.exchange_done(self, close, None)

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
        if self.state != OPEN and self._dropped("send_headers"):
            return
        head = self._encode_head(status, headers, None)
        self.state = STARTED
        self.connection.write(head)

    def send_data(self, data: bytes, end_stream: bool = False) -> None:
        """Send a piece of the body, which may be empty.

        Nothing is refused while unwritable: a caller that ignores `on_unwritable` buffers here.

        Raises:
            ExchangeStateError: No head was sent, or the response had ended.
        """
        if self.state != STARTED and self._dropped("send_data"):
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
        if self.state != STARTED and self._dropped("send_trailers"):
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
        if self.state != OPEN and self._dropped("send_informational"):
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
        if self.state != OPEN and self._dropped("upgrade"):
            return
        if not self.asks_upgrade:
            raise InvalidResponseError("the client does not ask for another protocol")
        head = upgrade_head(headers)
        self.connection.switch()
        self._on_upgraded_data = on_upgraded_data
        self.state = UPGRADED
        self.connection.write(head)

    def send_raw(self, data: bytes) -> None:
        """Send bytes of the protocol switched to.

        Raises:
            ExchangeStateError: There was no `upgrade`, or `close_raw` was called.
        """
        if self.state != UPGRADED and self._dropped("send_raw"):
            return
        self.connection.write(data)

    def close_raw(self) -> None:
        """End this direction of the protocol switched to.

        The client then has to end its own, or to send something, every `HttpLimits.body_timeout`.

        Raises:
            ExchangeStateError: There was no `upgrade`, or this was called before.
        """
        if self.state != UPGRADED and self._dropped("close_raw"):
            return
        self.state = ENDED
        if not self.connection.end_raw():
            self.connection.exchange_done(self, True, None)

    def reset(self, reason: str = "reset by the handler") -> None:
        """End the exchange without completing it: what was sent reaches the client, then a cut.

        Calls `on_reset(reason)`. Without effect once the exchange has ended.
        """
        if self.state < COMPLETE:
            self.connection.cut(reason)

    def pause_reading(self) -> None:
        """Deliver nothing more of the request until `resume_reading`, and stop reading it.

        While paused, a client that goes away is noticed only by writing to it.
        """
        if self.state < COMPLETE:
            self.connection.hold(True)

    def resume_reading(self) -> None:
        """Undo `pause_reading`; delivery starts again soon, not from inside this call."""
        if self.state < COMPLETE:
            self.connection.hold(False)

    # --- for the connection -----------------------------------------------------------------------

    def send_continue(self) -> None:
        """Let the connection ask for the body, unless that is held back or needless."""
        if self.state == OPEN and not (self.hold_continue or self.received):
            self.send_informational(100)

    def fail(self, status: int, detail: str, reason: str, close: bool) -> None:
        """Let the connection end the exchange with an error answer, or a cut if it is too late."""
        if self.state >= STARTED:
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
        self._on_upgraded_data(data, end_stream)
        if end_stream and self.state == ENDED:
            self.connection.exchange_done(self, True, None)

    def end(self, reset_reason: str | None) -> None:
        """Let the connection tell the handler that it is over; None: completely answered."""
        handler = self.handler
        self.handler = None
        try:
            if reset_reason is None:
                self.state = COMPLETE
                if handler is not None:
                    handler.on_complete()
            else:
                self.state = RESET
                if handler is not None:
                    handler.on_reset(reset_reason)
        except Exception:
            log.exception(END_FAILED)

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
        if self.state == RESET:
            return True
        states = ("not yet open", "open", "started", "upgraded", "ended", "complete")
        raise ExchangeStateError(f"{call}() on a response that is {states[self.state]}")
