"""One HTTP call of a guest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from anywasm.abi.calls import HttpCall, HttpCallResponse
from anywasm.abi.pairs import Pair
from anywasm.core.errors import AnyWasmError
from anywasm.server.callouts.loop import soon
from anywasm.server.http.request import Header, Headers
from anywasm.server.http.wire import HOP_BY_HOP
from anywasm.server.upstream import FailureReason, UpstreamFailure, UpstreamPool, UpstreamStream

_log = logging.getLogger("anywasm.server.callouts")

# What concerns one connection only (RFC 9110, 7.6.1).
_HOP_BY_HOP = HOP_BY_HOP | {b"te"}
# Written anew for what is really sent.
_OWNED = frozenset((b"host", b"content-length"))


def _end_to_end(headers: Iterable[Header]) -> list[Header]:
    named = {
        option.strip().lower()
        for name, value in headers
        if name == b"connection"
        for option in value.split(b",")
    }
    dropped = _HOP_BY_HOP | named
    return [header for header in headers if header[0] not in dropped]


class HttpRun:
    """A call under way: the handler of its stream, on the loop.

    The response's headers are the upstream's without hop-by-hop ones, between `:status` and
    `x-envoy-upstream-service-time` (milliseconds), as guests see them in Envoy.

    Args:
        loop: The loop.
        pool: The cluster's connections.
        call: The call.
        max_body_bytes: A longer response body is a 503.
        on_response: Told once, on the loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: UpstreamPool,
        call: HttpCall,
        max_body_bytes: int,
        on_response: Callable[[HttpCallResponse], None],
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._call = call
        self._max_body_bytes = max_body_bytes
        # None once it was told or cancelled: the one thing that several threads look at.
        self._on_response: Callable[[HttpCallResponse], None] | None = on_response
        self._stream: UpstreamStream | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._headers: list[Pair] = []
        self._body: list[bytes] = []
        self._size = 0
        self._trailers: tuple[Pair, ...] = ()

    def start(self) -> None:
        """Send the request; on the loop."""
        if self._on_response is None:
            return
        call = self._call
        self._began = self._loop.time()
        if call.timeout is not None:
            self._timer = self._loop.call_later(call.timeout, self._expired)
        pseudo: dict[bytes, bytes] = {}
        headers: Headers = []
        for name, value in call.headers:
            if name.startswith(b":"):
                pseudo.setdefault(name, value)
            elif name not in _OWNED:
                headers.append((name, value))
        headers = [(b"host", pseudo[b":authority"]), *_end_to_end(headers)]
        if call.body and not call.trailers:
            headers.append((b"content-length", b"%d" % len(call.body)))
        whole = not call.body and not call.trailers
        try:
            self._stream = stream = self._pool.request(
                self, pseudo[b":method"], pseudo[b":path"], headers, whole
            )
            if call.trailers:
                stream.send_data(call.body)
                stream.send_trailers(_end_to_end(call.trailers))
            elif call.body:
                stream.send_data(call.body, end_stream=True)
        except AnyWasmError as error:
            _log.warning("a call to cluster %s cannot be sent: %s", call.cluster, error)
            self._fail(UpstreamFailure(FailureReason.PROTOCOL_ERROR, str(error)))

    def cancel(self) -> None:
        """End it without a response; from any thread."""
        if self._on_response is not None:
            self._on_response = None
            soon(self._loop, self._release)

    # --- ResponseHandler -------------------------------------------------------------------------

    def on_informational(self, status: int, headers: Headers) -> None:
        """Guests do not see these."""

    def on_response_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        """Keep the head, as the guest will read it."""
        milliseconds = int((self._loop.time() - self._began) * 1000)
        time = (b"x-envoy-upstream-service-time", b"%d" % milliseconds)
        kept = [header for header in _end_to_end(headers) if header[0] != time[0]]
        self._headers = [(b":status", b"%d" % status), *kept, time]

    def on_response_data(self, data: bytes, end_stream: bool) -> None:
        """Keep the body, while it is not too long."""
        self._body.append(data)
        self._size += len(data)
        if self._size > self._max_body_bytes:
            self._answer(503, "the upstream's response body is too long")

    def on_response_trailers(self, trailers: Headers) -> None:
        """Keep the trailers."""
        self._trailers = tuple(trailers)

    def on_upstream_unwritable(self) -> None:
        """There is nothing to hold back: the body is here already."""

    def on_upstream_writable(self) -> None:
        """See `on_upstream_unwritable`."""

    def on_upstream_complete(self) -> None:
        """Give the response to the guest."""
        self._tell(HttpCallResponse(tuple(self._headers), b"".join(self._body), self._trailers))

    def on_upstream_reset(self, failure: UpstreamFailure) -> None:
        """Give Envoy's answer to the guest."""
        self._fail(failure)

    # --- the end ---------------------------------------------------------------------------------

    def _fail(self, failure: UpstreamFailure) -> None:
        text = failure.text
        if self._headers:
            text = f"upstream disconnect/reset after headers. reset reason: {failure.reason.value}"
        self._answer(failure.status, text)

    def _expired(self) -> None:
        self._answer(504, "upstream request timeout")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        headers = (
            (b":status", b"%d" % status),
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"text/plain"),
        )
        self._tell(HttpCallResponse(headers, body))

    def _tell(self, response: HttpCallResponse) -> None:
        on_response, self._on_response = self._on_response, None
        self._release()
        if on_response is not None:
            on_response(response)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None:
            self._stream.reset("the guest does not wait any more")  # nothing, where it has ended
        self._body.clear()
