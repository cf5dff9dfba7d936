"""What all streams of one filter listener have in common."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from anywasm.server.filters.access_log import AccessLog
from anywasm.server.filters.chain import FilterChain
from anywasm.server.filters.direct import DirectAnswers
from anywasm.server.filters.idle import IdleWatch
from anywasm.server.filters.places import FilterPlace
from anywasm.server.filters.relays import Relays
from anywasm.server.filters.route import RouteTable
from anywasm.server.http import HttpExchange
from anywasm.server.http.handler import AtOnce, RequestHandler
from anywasm.server.http.state import ListenerState
from anywasm.server.stream_times import StreamTimes
from anywasm.server.upstream import UpstreamClusters


@dataclass(frozen=True, slots=True)
class FilterListener:
    """Makes the chain of each exchange; the handler factory of a filter listener.

    Attributes:
        filters: The places of the filters in request order; each stream looks who serves there.
        table: The routes.
        clusters: The upstreams.
        virtual_host: The name of the routes (property `xds.virtual_host_name`).
        node_id: The name of this host (property `xds.node.id`).
        max_buffer: Bytes that a paused stream may hold in each direction.
        generate_request_id: Whether requests without an `x-request-id` get one.
        use_remote_address: Whether the client's address is appended to `x-forwarded-for`.
        upgrade: The protocols, in lower case, that clients may switch to.
        idle: Ends streams on which nothing happens.
        access_log: Told about each request, or None.
        times: Told status and seconds of each request.
        loop: The event loop.
        relays: Pass on what needs no chain; None where something looks on.
    """

    filters: tuple[FilterPlace, ...]
    table: RouteTable
    clusters: UpstreamClusters
    virtual_host: str
    node_id: str
    max_buffer: int
    generate_request_id: bool
    use_remote_address: bool
    upgrade: frozenset[bytes]
    idle: IdleWatch
    access_log: AccessLog | None
    times: StreamTimes
    loop: asyncio.AbstractEventLoop
    relays: Relays | None = field(init=False)

    def __post_init__(self) -> None:
        watched = self.filters or self.access_log
        object.__setattr__(self, "relays", None if watched else Relays(self))

    def at_once(self, shared: ListenerState) -> AtOnce | None:
        """What answers without a chain, where nobody would see the difference."""
        if self.filters or self.access_log or not self.table.answers:
            return None
        return DirectAnswers(self, shared)

    def __call__(self, exchange: HttpExchange) -> RequestHandler:
        """The relay or the chain of one exchange."""
        relays = self.relays
        relay = None if relays is None else relays(exchange)
        return FilterChain(self, exchange) if relay is None else relay
