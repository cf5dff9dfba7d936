"""One request through a chain of filters to its answer, and the answer back through them.

The request goes through the filters in their order to the router; the answer, wherever it comes
from, goes back in reverse to the client. Each filter is shown both. How failures and early answers
behave is Envoy's filter manager, recorded in the golden cases.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from anywasm.abi.context import LocalResponse
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import encode_pairs
from anywasm.abi.stream_info import StreamInfo
from anywasm.core.errors import DeadlineExceededError
from anywasm.server.filters.assembly import assemble
from anywasm.server.filters.direction import NOWHERE, REQUEST, Direction, Sink
from anywasm.server.filters.downstream import Downstream
from anywasm.server.filters.holds import Holds
from anywasm.server.filters.local_reply import FAILED, LocalReply
from anywasm.server.filters.message import forwarded_source, request_headers
from anywasm.server.filters.response_flags import RESPONSE_FLAGS
from anywasm.server.filters.route import Route
from anywasm.server.filters.router import Router
from anywasm.server.filters.stage import FilterStage
from anywasm.server.filters.timers import StreamTimers
from anywasm.server.filters.tunnel import Tunnel
from anywasm.server.http import Headers, HttpExchange
from anywasm.server.http.codec import declared_length

if TYPE_CHECKING:
    from anywasm.server.filters.listener import FilterListener
    from anywasm.server.upstream import UpstreamPool, UpstreamStream

_log: Final = logging.getLogger("anywasm.server.filters")

#: Looked up once, and not in each stream.
_monotonic: Final = time.monotonic
_time_ns: Final = time.time_ns

_CLOSED: Final = "wasm_close_stream"
_DISCONNECTED: Final = "downstream_remote_disconnect"
#: How the reasons of resets begin that come from the client's side.
_CLIENT: Final = ("the client", "the connection failed")


class FilterChain:
    """The handler of one exchange. Used on the event loop.

    Attributes:
        listener: What all its streams have in common.
        request: The request's headers.
        response: The response's headers as they were sent, or None.
        response_trailers: The response's trailers, or None.
        request_length: The length that the client declared for the request's body, or None.
        response_length: The length that the response's body had when it entered the filters.
        info: What guests may ask about the stream.
        route: The route of the request as it was last looked for.
        pool: The upstream of that route, or None.
        flags: Envoy's response flags.
        plugin: The filter that answered or failed, or None.
        stages: The filters, in request order.
        request_way: Where the request enters them.
        response_way: Where the response enters them.
        tunnel: For a client that may switch protocols.
        request_may_change: Whether a filter may change the request's body.
        response_may_change: Whether a filter may change the response's body.
        deciding: Whether the request goes on; not any more once the host or a filter answers it.
        superseded: Whether the client was answered past the filters, who see nothing more then.
        finished: Whether the exchange is over.
        active: See `IdleWatch`.
    """

    #: Compiled classes let go only of what is named here.
    __deletable__ = ("_downstream", "_router")

    request: HeaderMap
    info: StreamInfo
    response: HeaderMap | None = None
    response_trailers: HeaderMap | None = None
    response_length: int | None = None
    route: Route | None = None
    pool: UpstreamPool | None = None
    flags = ""
    plugin: str | None = None
    tunnel: Tunnel | None = None
    request_may_change = False
    response_may_change = False
    deciding = True
    superseded = False
    finished = False
    active = 0
    _responding = False
    _cutting = False
    _routed_for: bytes | None = None
    _watched = False
    _timers: StreamTimers | None = None
    _request_holds: Holds | None = None
    _response_holds: Holds | None = None

    def __init__(self, listener: FilterListener, exchange: HttpExchange) -> None:
        self.listener = listener
        self._exchange = exchange
        self._began = _monotonic()
        self.request_length = exchange.content_length
        if listener.upgrade and not exchange.has_body and exchange.asks_upgrade:
            protocol = dict(exchange.headers)[b"upgrade"]
            if protocol.lower() in listener.upgrade:
                self.tunnel = Tunnel(self, exchange, protocol)
        self.request = request_headers(exchange, listener, self.tunnel is not None)
        connection = exchange.connection
        source = connection.peer_address
        if not listener.use_remote_address:
            # Like Envoy, which lets lists of addresses go by what the proxy before it tells.
            source = forwarded_source(self.request) or source
        info = self.info = StreamInfo()
        info.start_time = _time_ns()
        if exchange.http_version != "1.1":
            info.protocol = "HTTP/" + exchange.http_version
        info.source = source
        info.destination = connection.local_address
        info.connection_id = connection.id
        info.virtual_host_name = listener.virtual_host
        info.node_id = listener.node_id
        self.stages: list[FilterStage] = []
        self.request_way: Sink
        self.response_way: Sink
        self.request_way = self._router = Router(self)
        self.response_way = self._downstream = Downstream(self, exchange)

    # --- what few streams need ---

    @property
    def timers(self) -> StreamTimers:
        """What ends it when it takes too long."""
        if self._timers is None:
            self._timers = StreamTimers(self, self.listener.loop)
        return self._timers

    @property
    def request_holds(self) -> Holds:
        """Why the client has to wait."""
        if self._request_holds is None:
            self._request_holds = Holds(self._exchange)
        return self._request_holds

    @property
    def response_holds(self) -> Holds:
        """Why the upstream has to wait."""
        if self._response_holds is None:
            self._response_holds = Holds(self._router)
        return self._response_holds

    # --- as a RequestHandler ---

    def on_request_headers(self, end_stream: bool) -> None:
        """Build the chain and let the request in."""
        exchange = self._exchange
        # Asked for once somebody wants the body: a filter may refuse it unseen.
        exchange.hold_continue = exchange.expect_continue
        self.find_route()
        assemble(self, self._router, self._downstream)
        # Like Envoy, which takes what follows an upgrade for a body.
        self.request_way.headers(self.request, end_stream and self.tunnel is None)
        if not self.finished:  # as most are that no upstream has to be asked for
            self._watched = True
            self.listener.idle.add(self)
            self._downstream.flush()

    def on_request_data(self, data: bytes, end_stream: bool) -> None:
        """Let a piece of its body in."""
        self.touch()
        self.info.request_size += len(data)
        if self.deciding:
            self.request_way.data(data, end_stream)
            self.flush()

    def on_request_trailers(self, trailers: Headers) -> None:
        """Let its trailers in."""
        self.touch()
        if self.deciding:
            self.request_way.trailers(HeaderMap(trailers))
            self.flush()

    def on_unwritable(self) -> None:
        """The client reads slowly: so do we."""
        self.response_holds.set(self, True)

    def on_writable(self) -> None:
        """The client has caught up."""
        self.touch()
        self.response_holds.set(self, False)

    def on_complete(self) -> None:
        """The response is on its way."""
        self._finish()

    def on_reset(self, reason: str) -> None:
        """The client is gone, or the connection was cut."""
        if not self._cutting:
            if reason.startswith(_CLIENT):
                self.flag("DC")
                self.info.response_code_details = _DISCONNECTED
            else:
                self.info.response_code_details = reason.replace(" ", "_")
        self._finish()

    def take_over(self, stream: UpstreamStream, began: float, left: float | None) -> Router:
        """Go on where a `Relay` asked the upstream; there are no filters.

        Args:
            stream: What it asked.
            began: When, as `time.monotonic` tells.
            left: Seconds left for the answer; None for no end.

        Returns:
            What takes the answer.
        """
        self._began = began
        self._watched = True
        self.listener.idle.add(self)
        self.find_route()
        self._router.take_over(stream, began, left)
        return self._router

    def touch(self) -> None:
        """Note that something has happened on the stream."""
        self.active = self.listener.idle.tick

    # --- for the router ---

    def find_route(self) -> Route | None:
        """Find the route of the request as it is now."""
        pairs = self.request.pairs
        # The bytes themselves: pairs have no identity of their own once this is compiled.
        usual = pairs[1][1] if len(pairs) > 1 and pairs[1][0] == b":path" else None
        if usual is not None and usual is self._routed_for:
            return self.route  # nobody has touched it
        path = self.request.get(b":path") if usual is None else usual
        if path == self._routed_for:
            return self.route
        self._routed_for = path
        route = self.route = None if not path else self.listener.table.match(path)
        info = self.info
        info.route_name = None if route is None else route.name
        info.cluster_name = cluster = None if route is None else route.cluster
        self.pool = None if cluster is None else self.listener.clusters.get(cluster)
        return route

    def ask_for_body(self) -> None:
        """Tell a client that waits for it that its body is wanted."""
        exchange = self._exchange
        if exchange.expect_continue and not (exchange.received or exchange.response_started):
            exchange.send_informational(100)

    def unfit(self, details: str, error: Exception) -> None:
        """Answer a request that cannot be sent as the filters made it."""
        _log.error("the request cannot be sent: %s", error)
        self.local_reply(LocalReply(503, details=f"{details}{{{error}}}"))
        self.flush()

    def respond(self, headers: HeaderMap, end_stream: bool) -> None:
        """Let an answer into the filters."""
        self.touch()
        self._responding = True
        self.response_length = declared_length(headers.pairs)
        self.info.response_code = int(headers.get(b":status") or b"0")
        self.response_way.headers(headers, end_stream)
        self.flush()

    def respond_data(self, data: bytes, end_stream: bool) -> None:
        """Let a piece of its body in."""
        self.touch()
        self.response_way.data(data, end_stream)
        self.flush()

    def respond_trailers(self, trailers: HeaderMap) -> None:
        """Let its trailers in."""
        self.touch()
        self.response_way.trailers(trailers)
        self.flush()

    def informational(self, status: int, headers: Headers) -> None:
        """Hand on a 1xx."""
        self.touch()
        if not self._responding and not self.finished:
            self._exchange.send_informational(status, headers)

    def chosen_pool(self) -> UpstreamPool | None:
        """The upstream, or the one host of it that a filter has chosen (Higress)."""
        cluster = None if self.route is None else self.route.cluster
        for stage in self.stages:
            address = stage.override_host
            if address is not None and cluster is not None:
                # A host that is not the cluster's is no choice: nobody leaves the configuration.
                return self.listener.clusters.pinned(cluster, address) or self.pool
        return self.pool

    def upstream_hosts(self) -> bytes:
        """The hosts of the route's cluster, each with empty metrics, as pairs (Higress)."""
        if self.pool is None:
            return b""
        return encode_pairs(
            [(f"{host}:{port}".encode(), b"") for host, port in self.pool.cluster.endpoints]
        )

    # --- for the stages ---

    def pause_expired(self) -> None:
        """A guest, or an upstream in the middle of its answer, has taken too long."""
        self._answer_at_once(LocalReply(504, b"upstream request timeout", "response_timeout"))
        self.flush()

    def flag(self, flag: str) -> None:
        """Set Envoy's response flag, for the access log and for guests."""
        self.flags = flag
        self.info.response_flags = RESPONSE_FLAGS[flag]

    def idle(self) -> None:
        """Nothing has happened for too long: 408 or 504 as in Envoy, or a cut."""
        self.flag("SI")
        status = 504 if self._exchange.received else 408
        self._answer_at_once(LocalReply(status, b"stream timeout", "stream_idle_timeout"))
        self.flush()

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

    def holding(self, half: object, direction: Direction, size: int) -> None:
        """So much body waits for a guest that has stopped everything: stop reading in time."""
        if self.finished:
            return
        holds = self.request_holds if direction is REQUEST else self.response_holds
        holds.set(half, size > self.listener.max_buffer)

    def failed(self, stage: FilterStage, error: BaseException) -> None:
        """A guest has failed: 503, or 504 for its deadline; a cut once headers were released."""
        if self.finished:
            return
        self.plugin = stage.serving.name
        _log.error("filter %s: %s", self.plugin, error)
        self.local_reply(
            LocalReply(504 if isinstance(error, DeadlineExceededError) else 503, details=FAILED)
        )
        self.flush()

    def guest_replied(self, stage: FilterStage, response: LocalResponse) -> None:
        """A guest answers itself."""
        self.plugin = stage.serving.name
        details = response.details.decode(errors="replace")
        self.local_reply(
            LocalReply(
                response.status, response.body, details, response.headers, response.grpc_status
            )
        )

    def guest_closed(self, stage: FilterStage) -> None:
        """A guest ends the stream without an answer."""
        if not self.finished:
            self.plugin = stage.serving.name
            self._cut(_CLOSED)

    # --- answers of the host's own ---

    def local_reply(self, reply: LocalReply) -> None:
        """Answer instead of an upstream; the filters that saw the request see the answer.

        Once another answer has entered the filters this one goes past them, as in Envoy.
        """
        if self._responding or self.finished:
            self._answer_at_once(reply)
            return
        self._stop(reply.details)
        code, headers, body = reply.render(self.request)
        self.response_length = len(body)
        self.info.response_code = code
        bodiless = not body or self._exchange.method == b"HEAD"
        self.response_way.headers(headers, bodiless)
        if not bodiless:
            self.response_way.data(body, True)

    def _answer_at_once(self, reply: LocalReply) -> None:
        """Answer past all filters, or cut where the client has seen the head of another answer."""
        if self.finished:
            return
        if self._downstream.released:
            self._cut(reply.details)
            return
        self._stop(reply.details)
        self.superseded = True
        _, headers, body = reply.render(self.request)
        self.response_length = len(body)
        bodiless = not body or self._exchange.method == b"HEAD"
        self._downstream.headers(headers, bodiless)
        if not bodiless:
            self._downstream.data(body, True)

    def _stop(self, details: str) -> None:
        """Let nothing more of the request, and of an upstream, come."""
        self.deciding = False
        self._responding = True
        self.info.response_code_details = details
        if self._timers is not None:
            self._timers.cancel()
        self._router.abandon()

    def _cut(self, details: str) -> None:
        self._stop(details)
        self._cutting = True
        self._downstream.cut(details)

    def invalid_response(self, reason: str) -> None:
        """What the filters made of the answer cannot be sent."""
        _log.error("the response cannot be sent: %s", reason)
        self._answer_at_once(LocalReply(502, details="invalid_response"))

    def cut(self, details: str) -> None:
        """The answer broke off in the middle."""
        self._answer_at_once(LocalReply(503, details=details))
        self.flush()

    def flush(self) -> None:
        """Write what waits for nothing; called at the end of every event."""
        if not self.finished:
            self._downstream.flush()

    def _finish(self) -> None:
        if self.finished:
            return
        self.finished = True
        self.deciding = False
        if self._watched:
            self.listener.idle.discard(self)
        if self._timers is not None:
            self._timers.cancel()
        self._router.abandon()
        taken = _monotonic() - self._began
        self.info.duration = int(taken * 1e9)
        for stage in self.stages:
            stage.end()
        self.listener.times.count(self.info.response_code or 0, taken)
        if self.listener.access_log is not None:
            self.listener.access_log.write(self)
        # The rest of the stream points to its chain. Without a way back it goes at once, and leaves
        # nothing to the garbage collector.
        self.stages = []
        self.request_way = self.response_way = NOWHERE
        self._timers = None
        del self._router
        del self._downstream
