"""One request through a chain of filters to its answer, and the answer back through them.

The request goes through the filters in their order to the router; the answer, wherever it comes
from, goes back in reverse to the client. Each filter is shown both. How failures and early answers
behave is Envoy's filter manager, recorded in the golden cases.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from anywasm.abi.context import LocalResponse
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import encode_pairs
from anywasm.abi.stream_info import StreamInfo
from anywasm.core.errors import DeadlineExceededError
from anywasm.plugins.errors import FilterFailedError, PoolClosedError
from anywasm.server.filters.direction import REQUEST, Direction, Sink
from anywasm.server.filters.downstream import Downstream
from anywasm.server.filters.local_reply import LocalReply
from anywasm.server.filters.message import forwarded_source, request_headers
from anywasm.server.filters.route import Route
from anywasm.server.filters.router import Router
from anywasm.server.filters.stage import FilterStage
from anywasm.server.http import Headers, HttpExchange

if TYPE_CHECKING:
    import asyncio

    from anywasm.plugins.wrapper import PluginWrapper
    from anywasm.server.filters.listener import FilterListener
    from anywasm.server.upstream import UpstreamPool

_log = logging.getLogger("anywasm.server.filters")

_FAILED = "wasm_fail_stream"
_CLOSED = "wasm_close_stream"
_DISCONNECTED = "downstream_remote_disconnect"
#: Seconds after which a stream that nobody resumes ends, where its route says nothing.
_NO_ROUTE_TIMEOUT = 15.0


class FilterChain:
    """The handler of one exchange. Used on the event loop.

    Attributes:
        listener: What all its streams have in common.
        request: The request's headers.
        response: The response's headers as they were sent, or None.
        response_trailers: The response's trailers, or None.
        info: What guests may ask about the stream.
        table: The routes.
        route: The route of the request as it was last looked for.
        pool: The upstream of that route, or None.
        flags: Envoy's response flags.
        plugin: The filter that answered or failed, or None.
        superseded: Whether the client was answered past the filters, who see nothing more then.
        finished: Whether the exchange is over.
        deadline: For guests' contexts: none of their own, the route's timeout ends the stream.
    """

    deadline = float("inf")
    request: HeaderMap
    response: HeaderMap | None
    response_trailers: HeaderMap | None
    info: StreamInfo
    flags: str
    plugin: str | None

    def __init__(self, listener: FilterListener, exchange: HttpExchange) -> None:
        self.listener = listener
        self.table = listener.table
        self.request = HeaderMap()
        self.response: HeaderMap | None = None
        self.response_trailers: HeaderMap | None = None
        self.info = StreamInfo()
        self.route: Route | None = None
        self.pool: UpstreamPool | None = None
        self._exchange = exchange
        self._began = time.monotonic()
        self._stages: list[FilterStage] = []
        self._router = Router(self)
        self._downstream = Downstream(self, exchange)
        self._request_way: Sink = self._router
        self._response_way: Sink = self._downstream
        self._deciding = True
        self._responding = False
        self.flags = ""
        self.plugin: str | None = None
        self.superseded = False
        self.finished = False
        self._held_back = 0
        self._timer: asyncio.TimerHandle | None = None

    # --- as a RequestHandler ---

    def on_request_headers(self, end_stream: bool) -> None:
        """Build the chain and let the request in."""
        self._describe()
        self.routed(self.table.match(self.request))
        failure = self._build()
        if failure is not None:
            self.local_reply(LocalReply(503, details=_FAILED))
        else:
            self._request_way.headers(self.request, end_stream)
        self.flush()

    def on_request_data(self, data: bytes, end_stream: bool) -> None:
        """Let a piece of its body in."""
        self.info.request_size += len(data)
        if self._deciding:
            self._request_way.data(data, end_stream)
            self.flush()

    def on_request_trailers(self, trailers: Headers) -> None:
        """Let its trailers in."""
        if self._deciding:
            self._request_way.trailers(HeaderMap(trailers))
            self.flush()

    def on_unwritable(self) -> None:
        """The client reads slowly: so do we."""
        self._router.pause_response(True)

    def on_writable(self) -> None:
        """The client has caught up."""
        self._router.pause_response(False)

    def on_complete(self) -> None:
        """The response is on its way."""
        self._finish()

    def on_reset(self, reason: str) -> None:
        """The client is gone, or the connection was cut."""
        if self.info.response_code_details is None:
            self.info.response_code_details = _DISCONNECTED
        self._finish()

    # --- building ---

    def _describe(self) -> None:
        exchange, listener, info = self._exchange, self.listener, self.info
        info.start_time = time.time_ns()
        info.protocol = "HTTP/" + exchange.http_version
        info.source = exchange.peer_address
        info.destination = exchange.local_address
        info.connection_id = exchange.connection_id
        info.virtual_host_name = listener.virtual_host
        info.node_id = listener.node_id
        headers = self.request = request_headers(exchange)
        if listener.use_remote_address and info.source is not None:
            known = headers.get(b"x-forwarded-for")
            address = info.source[0].encode()
            headers.replace(b"x-forwarded-for", address if not known else known + b"," + address)
        if not listener.use_remote_address:
            info.source = forwarded_source(headers) or info.source
        if headers.get(b"x-forwarded-proto") is None or listener.use_remote_address:
            headers.replace(b"x-forwarded-proto", b"https" if exchange.is_tls else b"http")
        if listener.generate_request_id and headers.get(b"x-request-id") is None:
            headers.add(b"x-request-id", str(uuid.uuid4()).encode())

    def _build(self) -> Exception | None:
        """Bind every filter's instance and link them up; the error of one that cannot serve."""
        failure = None
        for wrapper in self.listener.filters:
            try:
                stage = self._bind(wrapper)
            except FilterFailedError as error:
                _log.warning("%s", error)
                failure = error
                continue
            if stage is not None:
                self._stages.append(stage)
        ways: list[Sink] = [self._downstream]
        for stage in self._stages:
            stage.link(self._router, ways[-1])
            ways.append(stage.response)
        self._response_way = ways[-1]
        following: Sink = self._router
        for stage in reversed(self._stages):
            stage.request.lead_to(following)
            following = stage.request
        self._request_way = following
        return failure

    def _bind(self, wrapper: PluginWrapper) -> FilterStage | None:
        while True:
            plugin = wrapper.plugin
            try:
                slot = plugin.filters.bind()
            except PoolClosedError:
                if wrapper.plugin is plugin:
                    raise FilterFailedError(f"filter {wrapper.name!r} was removed") from None
                continue  # it was replaced just now
            return None if slot is None else FilterStage(self, plugin, slot)

    # --- for the router ---

    def routed(self, route: Route | None) -> None:
        """Note the route that the request takes as it is now."""
        self.route = route
        self.info.route_name = None if route is None else route.name
        self.info.cluster_name = None if route is None else route.cluster
        cluster = None if route is None else route.cluster
        self.pool = None if cluster is None else self.listener.clusters.get(cluster)

    def respond(self, headers: HeaderMap, end_stream: bool) -> None:
        """Let an answer into the filters."""
        self._responding = True
        status = headers.get(b":status")
        if status is not None and status.isdigit():
            self.info.response_code = int(status)
        self._response_way.headers(headers, end_stream)
        self.flush()

    def respond_data(self, data: bytes, end_stream: bool) -> None:
        """Let a piece of its body in."""
        self._response_way.data(data, end_stream)
        self.flush()

    def respond_trailers(self, trailers: HeaderMap) -> None:
        """Let its trailers in."""
        self._response_way.trailers(trailers)
        self.flush()

    def informational(self, status: int, headers: Headers) -> None:
        """Hand on a 1xx."""
        if not self._downstream.released and not self.finished:
            self._exchange.send_informational(status, headers)

    def hold_request(self, hold: bool) -> None:
        """Have the client wait for a slow upstream, or filter."""
        if hold:
            self._exchange.pause_reading()
        else:
            self._exchange.resume_reading()

    def arm_timeout(self, seconds: float | None, expired: Callable[[], None]) -> None:
        """End the stream with `expired` unless it is over by then; the last call counts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and not self.finished:
            self._timer = self.listener.loop.call_later(seconds, self._expire, expired)

    def _expire(self, expired: Callable[[], None]) -> None:
        self._timer = None
        if not self.finished:
            expired()
            self.flush()

    def upstream_hosts(self) -> bytes:
        """The hosts of the route's cluster, each with empty metrics, as pairs (Higress)."""
        if self.pool is None:
            return b""
        return encode_pairs(
            [(f"{host}:{port}".encode(), b"") for host, port in self.pool.cluster.endpoints]
        )

    # --- for the stages ---

    @property
    def request_may_change(self) -> bool:
        """Whether a filter may change the request's body."""
        return any(stage.changes_request for stage in self._stages)

    @property
    def response_may_change(self) -> bool:
        """Whether a filter may change the response's body."""
        return any(stage.changes_response for stage in self._stages)

    def paused(self) -> None:
        """A guest holds the stream up; nobody waits for it longer than for an upstream."""
        if self._timer is None and not self.finished:
            timeout = _NO_ROUTE_TIMEOUT if self.route is None else self.route.timeout
            self.arm_timeout(timeout, self._pause_expired)

    def _pause_expired(self) -> None:
        reply = LocalReply(504, b"upstream request timeout", "response_timeout")
        self._answer_at_once(reply)

    def may_collect(self, direction: Direction, size: int) -> bool:
        """Whether a guest may pause on so much body; the stream is answered where it may not."""
        if size <= self.listener.max_buffer:
            return True
        if direction is REQUEST:
            self.local_reply(LocalReply(413, b"Payload Too Large", "request_payload_too_large"))
        else:
            self._answer_at_once(
                LocalReply(500, b"Internal Server Error", "response_payload_too_large")
            )
        return False

    def holding(self, direction: Direction, size: int) -> None:
        """So much body waits for a guest that has stopped everything: stop reading in time."""
        hold = size > self.listener.max_buffer
        if direction is REQUEST:
            if hold or self._held_back:
                self._held_back = size
                self.hold_request(hold)
        else:
            self._router.pause_response(hold)

    def failed(self, stage: FilterStage, error: BaseException) -> None:
        """A guest has failed: 503, or 504 for its deadline; a cut once headers were released."""
        if self.finished:
            return
        self.plugin = stage.plugin.name
        _log.error("filter %s: %s", self.plugin, error)
        status = 504 if isinstance(error, DeadlineExceededError) else 503
        reply = LocalReply(status, details=_FAILED)
        if self._responding:
            self._answer_at_once(reply)
        else:
            self.local_reply(reply)
        self.flush()

    def guest_replied(self, stage: FilterStage, response: LocalResponse) -> None:
        """A guest answers itself."""
        self.plugin = stage.plugin.name
        reply = LocalReply(
            response.status,
            response.body,
            response.details.decode(errors="replace"),
            response.headers,
            response.grpc_status,
        )
        if self._responding:
            self._answer_at_once(reply)
        else:
            self.local_reply(reply)

    def guest_closed(self, stage: FilterStage) -> None:
        """A guest ends the stream without an answer."""
        self.plugin = stage.plugin.name
        self.info.response_code_details = _CLOSED
        self._deciding = False
        self._exchange.reset(_CLOSED)

    # --- answers of the host's own ---

    def local_reply(self, reply: LocalReply) -> None:
        """Answer instead of an upstream; the filters that saw the request see the answer."""
        if self.finished:
            return
        if self._responding:
            self._answer_at_once(reply)
            return
        self._deciding = False
        self._responding = True
        self._router.abandon()
        self.info.response_code_details = reply.details
        headers, body = reply.render(self.request)
        self.info.response_code = int(headers.get(b":status") or b"0")
        bodiless = not body or self._exchange.method == b"HEAD"
        self._response_way.headers(headers, bodiless)
        if not bodiless:
            self._response_way.data(body, True)

    def _answer_at_once(self, reply: LocalReply) -> None:
        """Answer past all filters, or cut where the client has seen the head of another answer."""
        self._deciding = False
        self._responding = True
        self._router.abandon()
        if self.finished:
            return
        self.info.response_code_details = reply.details
        if self._downstream.released:
            self._downstream.cut(reply.details)
            return
        headers, body = reply.render(self.request)
        self.superseded = True
        bodiless = not body or self._exchange.method == b"HEAD"
        self._downstream.headers(headers, bodiless)
        if not bodiless:
            self._downstream.data(body, True)

    def invalid_response(self, reason: str) -> None:
        """What the filters made of the answer cannot be sent."""
        _log.error("the response cannot be sent: %s", reason)
        self._answer_at_once(LocalReply(502, details="invalid_response"))

    def cut(self, details: str) -> None:
        """The answer broke off in the middle."""
        if not self.finished:
            self.info.response_code_details = details
            if self._downstream.released:
                self._downstream.cut(details)
            else:
                self._answer_at_once(LocalReply(503, details=details))

    def flush(self) -> None:
        """Write what waits for nothing; called at the end of every event."""
        if not self.finished:
            self._downstream.flush()

    def _finish(self) -> None:
        if self.finished:
            return
        self.finished = True
        self._deciding = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._router.abandon()
        taken = time.monotonic() - self._began
        self.info.duration = int(taken * 1e9)
        for stage in self._stages:
            stage.end()
        self.listener.count(self.info.response_code or 0, taken)
        if self.listener.access_log is not None:
            self.listener.access_log.write(self)
