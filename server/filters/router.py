"""The end of the request's way: a direct response, or an upstream and its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.server.filters.downstream import COLLECT_MOST
from anywasm.server.filters.local_reply import LocalReply
from anywasm.server.filters.message import content_length, response_headers, wire_headers
from anywasm.server.filters.route import Route
from anywasm.server.http import Headers
from anywasm.server.upstream import UpstreamFailure, UpstreamStream

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain

_TIMEOUT = LocalReply(504, b"upstream request timeout", "upstream_response_timeout")


class Router:
    """A `Sink` for the request, and the `ResponseHandler` of its upstream."""

    def __init__(self, chain: FilterChain) -> None:
        self._chain = chain
        self._stream: UpstreamStream | None = None
        self._route: Route | None = None
        self._head: list[Pair] = []
        self._collected: bytearray | None = None
        self._begun_at = 0.0
        self._responding = False

    # --- the request ---

    def headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Find the route as the headers are now, and take it."""
        chain = self._chain
        chain.routed(chain.table.match(headers))
        route = self._route = chain.route
        if route is None:
            chain.local_reply(LocalReply(404, details="route_not_found"))
            return
        if route.direct is not None:
            direct = route.direct
            chain.local_reply(
                LocalReply(direct.status, direct.body, "direct_response", direct.headers)
            )
            return
        if not headers.get(b":method") or chain.pool is None:
            details = "cluster_not_found" if chain.pool is None else "missing_method"
            chain.local_reply(LocalReply(503, details=details))
            return
        chain.arm_timeout(route.timeout, self._timed_out)
        length = content_length(headers)
        self._head = wire_headers(headers)
        if not end_stream and length is not None and chain.request_may_change:
            if length <= COLLECT_MOST:
                self._collected = bytearray()
                return
            self._head = [pair for pair in self._head if pair[0] != b"content-length"]
        self._begin(end_stream)

    def _begin(self, end_stream: bool) -> None:
        chain, route = self._chain, self._route
        assert route is not None
        assert chain.pool is not None
        request = chain.request
        host = route.host_rewrite or request.get(b":authority") or b""
        if route.timeout is not None:
            # As Envoy's router does, so that the upstream can give up in time, too.
            expected = b"%d" % (route.timeout * 1000)
            self._head.append((b"x-envoy-expected-rq-timeout-ms", expected))
        self._begun_at = time.monotonic()
        self._stream = chain.pool.request(
            self,
            request.get(b":method") or b"",
            route.rewrite(request.get(b":path") or b""),
            [(b"host", host), *self._head],
            end_stream,
        )

    def data(self, data: bytes, end_stream: bool) -> None:
        """Send a piece of the body on."""
        if self._collected is not None:
            self._collected += data
            if not end_stream and len(self._collected) <= COLLECT_MOST:
                return
            self._uncollect(whole=end_stream)
            if end_stream:
                return
            data = b""
        if self._stream is not None and (data or end_stream):
            self._stream.send_data(data, end_stream)

    def _uncollect(self, whole: bool) -> None:
        """Begin with what was collected, and with the length that it has come to."""
        body, self._collected = bytes(self._collected or b""), None
        self._head = [pair for pair in self._head if pair[0] != b"content-length"]
        if whole and body:
            self._head.append((b"content-length", b"%d" % len(body)))
        self._begin(whole and not body)
        if body and self._stream is not None:
            self._stream.send_data(body, whole)

    def trailers(self, trailers: HeaderMap) -> None:
        """End the request with trailers."""
        if self._collected is not None:
            self._uncollect(whole=False)
        if self._stream is not None:
            self._stream.send_trailers([p for p in trailers.pairs if p[0][:1] != b":"])

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
        info.response_code_details = "via_upstream"
        taken = int((time.monotonic() - self._begun_at) * 1000)
        answer = response_headers(status, headers)
        answer.replace(b"x-envoy-upstream-service-time", b"%d" % taken)
        chain.respond(answer, end_stream)

    def on_response_data(self, data: bytes, end_stream: bool) -> None:
        """Let a piece of its body in."""
        self._chain.respond_data(data, end_stream)

    def on_response_trailers(self, trailers: Headers) -> None:
        """Let its trailers in."""
        self._chain.respond_trailers(HeaderMap(trailers))

    def on_upstream_unwritable(self) -> None:
        """Read no more of the request for now."""
        self._chain.hold_request(True)

    def on_upstream_writable(self) -> None:
        """Read on."""
        self._chain.hold_request(False)

    def on_upstream_complete(self) -> None:
        """The upstream is done with."""
        self._stream = None

    def on_upstream_reset(self, failure: UpstreamFailure) -> None:
        """Answer for the upstream, or cut the answer that it began."""
        if self._stream is None:
            return  # it was given up
        self._stream = None
        self._chain.flags = failure.flags
        if self._responding:
            self._chain.cut(f"upstream_reset_after_response_started{{{failure.reason.value}}}")
            return
        reason = failure.reason.value.replace(" ", "_")
        details = f"upstream_reset_before_response_started{{{reason}}}"
        self._chain.local_reply(LocalReply(failure.status, failure.text.encode(), details))

    def _timed_out(self) -> None:
        self._chain.flags = "UT"
        if self._responding:
            self._chain.cut("upstream_response_timeout")
        else:
            self._chain.local_reply(_TIMEOUT)

    # --- for the chain ---

    def pause_response(self, pause: bool) -> None:
        """Have the upstream wait for a slow client."""
        if self._stream is not None:
            if pause:
                self._stream.pause_reading()
            else:
                self._stream.resume_reading()

    def abandon(self) -> None:
        """Give the upstream up; its answer is not wanted any more."""
        stream, self._stream = self._stream, None
        self._collected = None
        if stream is not None:
            stream.reset()
