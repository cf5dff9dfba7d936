"""For handlers that want the whole request at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from anywasm.server.http.exchange import HttpExchange
from anywasm.server.http.fields import error_body
from anywasm.server.http.handler import HandlerFactory
from anywasm.server.http.request import Headers

#: Called with the exchange, the headers, the whole body and the trailers. It responds before it
#: returns or at any later time on the event loop; nobody tells it of a client that goes away, but
#: `exchange.ended` does.
WholeRequestCall: TypeAlias = Callable[[HttpExchange, Headers, bytes, Headers], None]

_JSON: Final = [(b"content-type", b"application/json")]


class BufferedHandler:
    """Collects the body, up to a limit, and then makes one call. Creates no task.

    Args:
        exchange: The exchange.
        call: What answers it.
        max_body_bytes: Past it the client gets 413 and the call is not made; by default what the
            listener's limits say.
    """

    __slots__ = ("_body", "_call", "_exchange", "_max_body_bytes", "_size")

    def __init__(
        self, exchange: HttpExchange, call: WholeRequestCall, max_body_bytes: int | None = None
    ) -> None:
        self._exchange = exchange
        self._call = call
        self._max_body_bytes = (
            exchange.limits.max_body_bytes if max_body_bytes is None else max_body_bytes
        )
        self._body: list[bytes] = []
        self._size = 0

    def on_request_headers(self, end_stream: bool) -> None:
        """Make the call if there is no body; refuse a body that says it is too long."""
        exchange = self._exchange
        if end_stream:
            self._call(exchange, exchange.headers, b"", [])
        elif (exchange.content_length or 0) > self._max_body_bytes:
            self._refuse()

    def on_request_data(self, data: bytes, end_stream: bool) -> None:
        """Collect a piece; make the call after the last."""
        self._size += len(data)
        if self._size > self._max_body_bytes:
            self._refuse()
            return
        self._body.append(data)
        if end_stream:
            self.on_request_trailers([])

    def on_request_trailers(self, trailers: Headers) -> None:
        """Make the call."""
        body, self._body = b"".join(self._body), []
        self._call(self._exchange, self._exchange.headers, body, trailers)

    def on_unwritable(self) -> None:
        """Ignore it: the response is already whole."""

    def on_writable(self) -> None:
        """Ignore it: the response is already whole."""

    def on_complete(self) -> None:
        """Ignore it: nothing is kept."""

    def on_reset(self, reason: str) -> None:
        """Drop what was collected."""
        self._body = []

    def _refuse(self) -> None:
        self._body = []
        detail = f"the request body is longer than {self._max_body_bytes} bytes"
        self._exchange.respond(413, _JSON, error_body(detail))


def buffered(call: WholeRequestCall, max_body_bytes: int | None = None) -> HandlerFactory:
    """Make a handler factory for a listener out of a plain callable.

    Args:
        call: Answers a whole request.
        max_body_bytes: Longest body; by default what the listener's limits say.
    """
    return lambda exchange: BufferedHandler(exchange, call, max_body_bytes)
