"""gRPC calls of guests (`proxy_grpc_call`, `proxy_grpc_stream`)."""

from __future__ import annotations

import asyncio
import logging

from anywasm.abi.calls import GrpcEvents, GrpcTarget
from anywasm.server.callouts.grpc_call import StreamCall, UnaryCall
from anywasm.server.callouts.grpc_channels import GrpcChannels, load_grpc
from anywasm.server.callouts.grpc_service import GrpcUpstream, find_upstream
from anywasm.server.callouts.loop import soon
from anywasm.server.upstream import UpstreamClusters

_log = logging.getLogger("anywasm.server.callouts")

#: Envoy has no such bound; without one a server could fill the host's memory.
MAX_MESSAGE_BYTES = 10 * 1024 * 1024


class GrpcCalls:
    """`GrpcCaller` (`anywasm.abi.calls`) over grpcio, on the server's own event loop.

    Calls begin from any thread; events come on the loop's. What the upstream argument may be says
    `find_upstream`. Without grpcio no upstream is found, and one log line says what to install.

    Metadata is as it goes over the wire (see `grpc_metadata`). The authority is the endpoint's
    host and port unless a `GrpcService` gives one (Envoy's default is the cluster's name, which
    few servers know). A call that never reached the server ends with UNAVAILABLE (14), one past
    its time with DEADLINE_EXCEEDED (4), one with metadata that cannot be sent with INTERNAL (13),
    a message that is too large with RESOURCE_EXHAUSTED (8).

    Args:
        clusters: What may be called.
        loop: The event loop. grpcio shares one poller among all loops of a process that use it,
            so a process should have one such loop.
        max_message_bytes: The largest message that is received.
    """

    def __init__(
        self,
        clusters: UpstreamClusters,
        loop: asyncio.AbstractEventLoop,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._clusters = clusters
        self._loop = loop
        self._channels = GrpcChannels(max_message_bytes)
        self._running: set[asyncio.Task[None]] = set()
        self._warned: set[str] = set()

    def call(
        self, target: GrpcTarget, message: bytes, timeout: float | None, events: GrpcEvents
    ) -> UnaryCall | None:
        """Begin a unary call; `timeout` in seconds, None for the `GrpcService`'s, if any.

        What who waits has left bounds it in any case.
        """
        upstream = self._upstream(target)
        if upstream is None:
            return None
        limit = _least(timeout or upstream.timeout, target.time_left)
        shared = self._loop, self._channels, self._running
        call = UnaryCall(message, *shared, upstream, target, limit, events)
        soon(self._loop, call.start)
        return call

    def stream(self, target: GrpcTarget, events: GrpcEvents) -> StreamCall | None:
        """Open a stream; the `GrpcService`'s timeout bounds it as a whole, and what is left."""
        upstream = self._upstream(target)
        if upstream is None:
            return None
        shared = self._loop, self._channels, self._running
        limit = _least(upstream.timeout, target.time_left)
        stream = StreamCall(*shared, upstream, target, limit, events)
        soon(self._loop, stream.start)
        return stream

    def _upstream(self, target: GrpcTarget) -> GrpcUpstream | None:
        upstream = find_upstream(target.upstream, self._clusters)
        if upstream is None or load_grpc() is None:
            return None
        tls = upstream.cluster.tls
        if tls is not None and tls.insecure:
            self._warn(upstream.cluster.name)
            return None
        return upstream

    def _warn(self, cluster: str) -> None:
        if cluster not in self._warned:
            self._warned.add(cluster)
            _log.error(
                "gRPC calls to cluster %s are refused: grpcio cannot leave a certificate "
                "unverified; set the cluster's tls.ca_file instead of tls.insecure",
                cluster,
            )

    async def close(self) -> None:
        """End all calls without another event, and close the channels; on the loop."""
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        await self._channels.close()


def _least(*limits: float | None) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)
