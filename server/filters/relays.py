"""Which requests a listener relays without a chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.server.filters.deadlines import Deadlines
from anywasm.server.filters.message import HOP_BY_HOP, request_id
from anywasm.server.filters.relay import Relay
from anywasm.server.http import HttpExchange

if TYPE_CHECKING:
    from anywasm.server.filters.listener import FilterListener

#: Headers of a request that are more than passed on.
_RARE = HOP_BY_HOP | {
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

    __slots__ = ("_clusters", "_deadlines", "_table", "listener")

    def __init__(self, listener: FilterListener) -> None:
        self.listener = listener
        self._table = listener.table
        self._clusters = listener.clusters
        self._deadlines: dict[float, Deadlines] = {}

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
        return Relay(self, exchange, route, pool, head)

    def add(self, relay: Relay, timeout: float | None) -> None:
        """Watch one until `discard`."""
        self.listener.idle.add(relay)
        if timeout is not None:
            deadlines = self._deadlines.get(timeout)
            if deadlines is None:
                deadlines = self._deadlines[timeout] = Deadlines(self.listener.loop, timeout)
            deadlines.add(relay)

    def discard(self, relay: Relay, timeout: float | None) -> None:
        """Watch one no more."""
        self.listener.idle.discard(relay)
        if timeout is not None:
            self._deadlines[timeout].discard(relay)

    def left(self, relay: Relay, timeout: float | None) -> float | None:
        """The seconds that its route's timeout leaves one; None for no end, or past it."""
        return None if timeout is None else self._deadlines[timeout].left(relay)
