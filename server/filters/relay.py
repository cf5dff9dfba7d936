"""A request and its answer between client and upstream, where no filter and no log looks on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from anywasm.core.errors import AnyWasmError
from anywasm.server.filters.chain import FilterChain
from anywasm.server.filters.message import response_headers
from anywasm.server.http import Headers, HttpExchange, InvalidResponseError
from anywasm.server.http.codec import wire_fields

if TYPE_CHECKING:
    from anywasm.server.filters.deadlines import Deadlines
    from anywasm.server.filters.listener import FilterListener
    from anywasm.server.filters.route import Route
    from anywasm.server.filters.router import Router
    from anywasm.server.upstream import UpstreamFailure, UpstreamPool, UpstreamStream

_monotonic: Final = time.monotonic
#: A length of more digits is none to the chain.
_MOST_DIGITS: Final = 18
_SERVICE_TIME: Final = b"x-envoy-upstream-service-time"
#: Headers of an answer that are more than passed on.
_RARE: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
        _SERVICE_TIME,
    }
)


class Relay:
    """Takes a request without a body to its upstream, and the answer back.

    Whatever else happens is a chain's affair, which then takes everything over, so that there is
    one way only for what is rare: an upstream that fails or takes too long, what comes before an
    answer, headers that cannot be sent. Neither side can tell the difference.

    Args:
        listener: The request's; without filters and access log.
        exchange: The request.
        route: Its route.
        pool: The route's upstream.
        head: The headers that the upstream gets.
        deadlines: What ends it after `shortest`.
    """

    __slots__ = (
        "_began",
        "_deadlines",
        "_exchange",
        "_head",
        "_listener",
        "_pool",
        "_route",
        "_status",
        "_stream",
    )

    def __init__(
        self,
        listener: FilterListener,
        exchange: HttpExchange,
        route: Route,
        pool: UpstreamPool,
        head: Headers,
        deadlines: Deadlines,
    ) -> None:
        self._listener = listener
        self._exchange = exchange
        self._route = route
        self._pool = pool
        self._head = head
        self._deadlines = deadlines
        self._began = _monotonic()
        self._stream: UpstreamStream | None = None
        self._status = 0

    # --- as the handler of the exchange ---

    def on_request_headers(self, end_stream: bool) -> None:
        """Ask the upstream."""
        exchange, route = self._exchange, self._route
        target = exchange.target
        if route.prefix_rewrite is not None:
            target = route.rewrite(target)
        try:
            self._stream = self._pool.request(self, exchange.method, target, self._head)
        except AnyWasmError:
            # The chain meets the same error, and knows what to say.
            exchange.handler = chain = FilterChain(self._listener, exchange)
            chain.on_request_headers(end_stream)
        else:
            self._deadlines.add(self)

    def on_request_data(self, data: bytes, end_stream: bool) -> None:
        """Does not come: there is no body."""

    def on_request_trailers(self, trailers: Headers) -> None:
        """Do not come: there is no body."""

    def on_unwritable(self) -> None:
        """The client reads slowly: so does this side."""
        if self._stream is not None:
            self._stream.pause_reading()

    def on_writable(self) -> None:
        """The client has caught up."""
        if self._stream is not None:
            self._stream.resume_reading()

    def on_complete(self) -> None:
        """The answer is on its way."""
        self._end(self._status)

    def on_reset(self, reason: str) -> None:
        """The client is gone, or the connection was cut."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.reset()
        self._end(self._status)

    def _end(self, status: int) -> None:
        self._deadlines.discard(self)
        self._listener.times.count(status, _monotonic() - self._began)

    # --- as the handler of the upstream's answer ---

    def on_whole_response(self, status: int, headers: Headers, body: bytes) -> None:
        """Pass it on in one piece."""
        stream, self._stream = self._stream, None
        self._status = status
        try:
            self._exchange.respond(status, self._passed_on(status, headers), body)
        except InvalidResponseError:
            self._stream = stream
            router = self._hand_over()[1]
            router.on_response_headers(status, headers, not body)
            if body:
                router.on_response_data(body, False)
                router.on_response_data(b"", True)

    def on_informational(self, status: int, headers: Headers) -> None:
        """Hand over: the answer is still to come."""
        self._hand_over()[1].on_informational(status, headers)

    def on_response_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        """Pass them on, unless pieces of the body would have to be watched for, or do not fit."""
        stream = self._stream
        if self._is_idle_first() or any(
            name == b"content-length" and len(value) > _MOST_DIGITS for name, value in headers
        ):
            self._hand_over()[1].on_response_headers(status, headers, end_stream)
            return
        if end_stream:
            self._stream = None
        self._status = status
        try:
            self._exchange.send_headers(status, self._passed_on(status, headers), end_stream)
        except InvalidResponseError:
            self._stream = stream
            self._hand_over()[1].on_response_headers(status, headers, end_stream)

    def on_response_data(self, data: bytes, end_stream: bool) -> None:
        """Pass it on."""
        if end_stream:
            # It is whole: the end of the exchange must not reset it, and its connection with it.
            self._stream = None
        self._exchange.send_data(data, end_stream)

    def on_response_trailers(self, trailers: Headers) -> None:
        """Pass them on."""
        self._stream = None
        try:
            self._exchange.send_trailers(trailers)
        except InvalidResponseError:
            self._exchange.reset("invalid_response")

    def _passed_on(self, status: int, headers: Headers) -> Headers:
        """The headers that the client gets."""
        taken = b"%d" % ((_monotonic() - self._began) * 1000)
        for name, _ in headers:
            if name in _RARE:
                answer = response_headers(status, headers)
                answer.replace(_SERVICE_TIME, taken)
                return wire_fields(answer.pairs, False)[0]
        return [*headers, (_SERVICE_TIME, taken)]

    def on_upstream_unwritable(self) -> None:
        """Wait: nothing more is to be sent."""

    def on_upstream_writable(self) -> None:
        """Wait for the answer."""

    def on_upstream_complete(self) -> None:
        """Nothing is left to do."""

    def on_upstream_reset(self, failure: UpstreamFailure) -> None:
        """Hand over, or cut an answer that has begun, unless it was given up."""
        if self._stream is None:
            return
        if self._status:
            self._stream = None
            self._exchange.reset(f"upstream_reset_after_response_started{{{failure.reason.value}}}")
        else:
            self._hand_over()[1].on_upstream_reset(failure)

    # --- what takes too long ---

    def late(self) -> None:
        """Hand over, or cut an answer that has begun: the time is over."""
        if self._status:
            self._exchange.reset("response_timeout")
            return
        idle = self._is_idle_first()
        chain, router = self._hand_over()
        if idle:
            chain.idle()
        else:
            router.timed_out()
            chain.flush()

    def _is_idle_first(self) -> bool:
        """Whether saying nothing is found too long before the route's timeout has passed."""
        timeout = self._route.timeout
        return timeout is None or timeout > self._listener.idle.timeout

    def _hand_over(self) -> tuple[FilterChain, Router]:
        """Let a chain go on with what is under way: the request was sent."""
        assert self._stream is not None
        self._deadlines.discard(self)
        timeout = self._route.timeout
        left = None if timeout is None else max(0.0, timeout + self._began - _monotonic())
        chain = FilterChain(self._listener, self._exchange)
        router = chain.take_over(self._stream, self._began, left)
        self._exchange.handler = chain
        self._stream.handler = router
        return chain, router


def shortest(route: Route, listener: FilterListener) -> float:
    """The seconds after which a request ends of which nothing more is heard."""
    idle = listener.idle.timeout
    return idle if route.timeout is None else min(route.timeout, idle)
