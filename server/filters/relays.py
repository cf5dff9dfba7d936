"""Which requests a listener relays without a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anywasm.server.filters.deadlines import Deadlines
from anywasm.server.filters.relay import Relay, shortest
from anywasm.server.http import HttpExchange
from anywasm.server.http.codec import request_id
from anywasm.server.http.wire import HOP_BY_HOP

if TYPE_CHECKING:
    from anywasm.server.filters.listener import FilterListener
    from anywasm.server.filters.route import Route

#: Headers of a request that are more than passed on.
_RARE: Final = HOP_BY_HOP | {
    b"content-length",
    b"expect",
    b"host",
    b"x-envoy-expected-rq-timeout-ms",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-request-id",
}


class Relays:
    """Those of one listener. Used on the event loop.

    Args:
        listener: Has the routes; without filters and access log.

    Attributes:
        listener: As given.
    """

    __slots__ = ("_clusters", "_deadlines", "_table", "_timeouts", "listener")

    def __init__(self, listener: FilterListener) -> None:
        self.listener = listener
        self._table = listener.table
        self._clusters = listener.clusters
        # By route; those of routes with the same timeout are the same.
        self._deadlines: dict[Route, Deadlines] = {}
        self._timeouts: dict[float, Deadlines] = {}

    def __call__(self, exchange: HttpExchange) -> Relay | None:
        """The handler of a request that is to be passed on as it is; None where it needs a chain.

        What its upstream gets is, to the byte, what a chain without filters would send.
        """
        target = exchange.target
        if exchange.has_body or exchange.http_version != "1.1" or target[:1] != b"/":
            return None
        route = self._table.match(target)
        if route is None or route.cluster is None:
            return None
        pool = self._clusters.get(route.cluster)
        if pool is None:
            return None
        listener, connection = self.listener, exchange.connection
        head = [(b"host", route.host_rewrite or b"")]
        has_id = False
        for pair in exchange.headers:
            name = pair[0]
            if name not in _RARE:
                head.append(pair)
            elif name == b"host":
                if route.host_rewrite is None:
                    head[0] = pair
            elif name == b"x-request-id":
                has_id = True
                head.append(pair)
            elif name != b"connection" or pair[1] != b"keep-alive":
                return None
        if listener.use_remote_address and connection.client is not None:
            head.append((b"x-forwarded-for", connection.client))
        head.append((b"x-forwarded-proto", b"https" if connection.is_tls else b"http"))
        if listener.generate_request_id and not has_id:
            head.append((b"x-request-id", request_id()))
        if route.timeout is not None:
            head.append((b"x-envoy-expected-rq-timeout-ms", b"%d" % (route.timeout * 1000)))
        deadlines = self._deadlines.get(route) or self._deadlines_of(route)
        return Relay(listener, exchange, route, pool, head, deadlines)

    def _deadlines_of(self, route: Route) -> Deadlines:
        listener = self.listener
        seconds = shortest(route, listener)
        deadlines = self._timeouts.get(seconds)
        if deadlines is None:
            deadlines = self._timeouts[seconds] = Deadlines(listener.loop, seconds)
        self._deadlines[route] = deadlines
        return deadlines
