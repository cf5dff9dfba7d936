"""The end of the request's way: a direct response, or an upstream and its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.core.errors import AnyWasmError
from anywasm.server.filters.direction import Sink
from anywasm.server.filters.downstream import COLLECT_MOST
from anywasm.server.filters.local_reply import LocalReply
from anywasm.server.filters.message import (
    response_headers,
    trailer_fields,
    without_length,
)
from anywasm.server.http import Headers
from anywasm.server.http.codec import wire_fields
from anywasm.server.upstream import UpstreamFailure, UpstreamStream

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain

_monotonic: Final = time.monotonic
_TIMEOUT: Final = LocalReply(504, b"upstream request timeout", "upstream_response_timeout")
#: Envoy's words for a request that filters have made unfit to be sent.
_UNFIT: Final = "filter_removed_required_request_headers"


class Router(Sink):
    """A `Sink` for the request, and the `ResponseHandler` of its upstream."""

    __slots__ = ("_begun_at", "_chain", "_collected", "_head", "_responding", "_stream")

    _head: list[Pair]

    def __init__(self, chain: FilterChain) -> None:
        self._chain = chain
        self._stream: UpstreamStream | None = None
        self._collected: bytearray | None = None
        self._begun_at = 0.0
        self._responding = False

    # --- the request ---

    def headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Find the route as the headers are now, and take it."""
        chain = self._chain
        route = chain.find_route()
        if route is None:
            chain.local_reply(LocalReply(404, details="route_not_found"))
            return
        if route.direct is not None:
            chain.local_reply(route.direct)
            return
        if not headers.get(b":method") or chain.pool is None:
            details = "cluster_not_found" if chain.pool is None else "missing_method"
            chain.local_reply(LocalReply(503, details=details))
            return
        chain.ask_for_body()
        if chain.tunnel is not None:
            end_stream = True  # what follows is no body
        self._head, length = wire_fields(headers.pairs, True)
        if length is not None:
            if end_stream:
                if length:
                    self._head = without_length(self._head)
            elif chain.request_may_change and 0 <= length <= COLLECT_MOST:
                self._collected = bytearray()
                return
            elif chain.request_may_change or length != chain.request_length:
                self._head = without_length(self._head)
        self._begin(end_stream)

    def _begin(self, end_stream: bool) -> None:
        chain = self._chain
        route, pool, tunnel, request = chain.route, chain.chosen_pool(), chain.tunnel, chain.request
        assert route is not None
        assert pool is not None
        head = [(b"host", route.host_rewrite or request.get(b":authority") or b""), *self._head]
        if route.timeout is not None:
            # As Envoy's router does, so that the upstream can give up in time, too.
            head.append((b"x-envoy-expected-rq-timeout-ms", b"%d" % (route.timeout * 1000)))
        protocol = None if tunnel is None else request.get(b"upgrade")
        if protocol is not None:
            head.append((b"upgrade", protocol))
        self._begun_at = _monotonic()
        try:
            self._stream = pool.request(
                self,
                request.get(b":method") or b"",
                route.rewrite(request.get(b":path") or b""),
                head,
                end_stream,
                None if tunnel is None or protocol is None else tunnel.from_upstream,
            )
        except AnyWasmError as error:
            chain.unfit(_UNFIT, error)
            return
        if end_stream:
            self._sent()

    def _sent(self) -> None:
        """The upstream's time runs from the end of the request, as in Envoy."""
        route = self._chain.route
        self._chain.timers.arm(None if route is None else route.timeout, self.timed_out)

    def data(self, data: bytes, end_stream: bool) -> None:
        """Send a piece of the body on."""
        if self._collected is not None:
            self._collected += data
            if not end_stream and len(self._collected) <= COLLECT_MOST:
                return
            self._uncollect(whole=end_stream)
        elif self._stream is not None and (data or end_stream):
            self._stream.send_data(data, end_stream)
            if end_stream:
                self._sent()

    def _uncollect(self, whole: bool) -> None:
        """Begin with what was collected, and with the length that it has come to."""
        body, self._collected = bytes(self._collected or b""), None
        self._head = without_length(self._head)
        if whole and body:
            self._head.append((b"content-length", b"%d" % len(body)))
        self._begin(whole and not body)
        if body and self._stream is not None:
            self._stream.send_data(body, whole)
            if whole:
                self._sent()

    def trailers(self, trailers: HeaderMap) -> None:
        """End the request with trailers."""
        if self._collected is not None:
            self._uncollect(whole=False)
        if self._stream is not None:
            try:
                self._stream.send_trailers(trailer_fields(trailers))
            except AnyWasmError as error:
                self._chain.unfit(_UNFIT, error)
                return
            self._sent()

    # --- as a ResponseHandler ---

    def on_informational(self, status: int, headers: Headers) -> None:
        """Hand on what the client may want to know early; 100 is the listener's own."""
        if status != 100:
            self._chain.informational(status, headers)

    def on_response_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        """Let the answer into the filters."""
        chain = self._chain
        self._responding = True
        info = chain.info
        if self._stream is not None:
            info.upstream = self._stream.remote_address
            info.upstream_local = self._stream.local_address
            if status == 101 and chain.tunnel is not None:
                # A route's timeout is for answers; what was switched to may last.
                chain.timers.arm(None)
                chain.tunnel.agreed(self._stream)
        if end_stream:
            self._stream = None
        info.response_code_details = "via_upstream"
        taken = int((_monotonic() - self._begun_at) * 1000)
        answer = response_headers(status, headers)
        answer.replace(b"x-envoy-upstream-service-time", b"%d" % taken)
        chain.respond(answer, end_stream)

    def on_response_data(self, data: bytes, end_stream: bool) -> None:
        """Let a piece of its body in."""
        if end_stream:
            # It is whole: the end of the exchange must not reset it, and its connection with it.
            self._stream = None
        self._chain.respond_data(data, end_stream)

    def on_response_trailers(self, trailers: Headers) -> None:
        """Let its trailers in."""
        self._stream = None
        self._chain.respond_trailers(HeaderMap(trailers))

    def on_upstream_unwritable(self) -> None:
        """Read no more of the request for now."""
        self._chain.request_holds.set(self, True)

    def on_upstream_writable(self) -> None:
        """Read on."""
        self._chain.request_holds.set(self, False)

    def on_upstream_complete(self) -> None:
        """The upstream is done with."""
        self._stream = None

    def on_upstream_reset(self, failure: UpstreamFailure) -> None:
        """Answer for the upstream, or cut the answer that it began."""
        if self._stream is None:
            return  # it was given up
        self._stream = None
        chain = self._chain
        chain.flag(failure.flags)
        reason = failure.reason.value.replace(" ", "_")
        if self._responding:
            chain.cut(f"upstream_reset_after_response_started{{{reason}}}")
        else:
            details = f"upstream_reset_before_response_started{{{reason}}}"
            chain.local_reply(LocalReply(failure.status, failure.text.encode(), details))
            chain.flush()

    # --- for the chain ---

    def take_over(self, stream: UpstreamStream, begun_at: float, left: float | None) -> None:
        """Go on with a request that was sent."""
        self._stream = stream
        self._begun_at = begun_at
        self._chain.timers.arm(left, self.timed_out)

    def timed_out(self) -> None:
        """The route's timeout has passed."""
        self._chain.flag("UT")
        if self._responding:
            self._chain.pause_expired()
        else:
            self._chain.local_reply(_TIMEOUT)

    def pause_reading(self) -> None:
        """Have the upstream wait."""
        if self._stream is not None:
            self._stream.pause_reading()

    def resume_reading(self) -> None:
        """Have it go on."""
        if self._stream is not None:
            self._stream.resume_reading()

    def abandon(self) -> None:
        """Give the upstream up; its answer is not wanted any more."""
        stream, self._stream = self._stream, None
        self._collected = None
        if stream is not None:
            stream.reset()
