"""What one server gives to its guests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from anywasm.abi.host import HostServices, ServiceInvoker, StateStore
from anywasm.abi.limits import AbiLimits
from anywasm.abi.metrics import GuestMetrics
from anywasm.plugins.config import AppConfig, ClusterConfig
from anywasm.server.callouts import GrpcCalls, HttpCalls, LoopTimers, RedisCalls
from anywasm.server.foreign import offer_cel
from anywasm.server.guest_log import FROM_NAME, log_guest
from anywasm.server.state.shared import open_shared
from anywasm.server.state.shared_queues import RedisSharedQueues
from anywasm.server.upstream import Cluster, TlsOptions, UpstreamClusters


def make_services(
    config: AppConfig,
    loop: asyncio.AbstractEventLoop,
    clusters: UpstreamClusters,
    stores: Mapping[str, StateStore],
    invoke: ServiceInvoker,
) -> HostServices:
    """The services of a server that runs on `loop`; close them with `close_services`."""
    limits = config.abi_limits
    shared = open_shared(config)
    offer_cel()
    return HostServices(
        log=log_guest,
        log_level=FROM_NAME[config.log_level],
        state_stores=stores,
        invoke=invoke,
        http=HttpCalls(clusters, loop, limits.call_body_bytes),
        grpc=GrpcCalls(clusters, loop, limits.call_body_bytes),
        redis=RedisCalls(clusters, loop, limits.call_body_bytes),
        timers=LoopTimers(loop),
        shared_data=shared.data,
        shared_queues=shared.queues,
        shared_waits=shared.waits,
        metrics=GuestMetrics(limits.metrics),
        limits=AbiLimits(limits.pairs, limits.pairs_bytes, limits.buffer_bytes, limits.calls_bytes),
    )


async def close_services(services: HostServices) -> None:
    """Close what guests call through; after the guests, before the clusters. On the loop."""
    for caller in (services.grpc, services.redis):
        if isinstance(caller, (GrpcCalls, RedisCalls)):
            await caller.close()
    queues = services.shared_queues
    if isinstance(queues, RedisSharedQueues):
        await asyncio.get_running_loop().run_in_executor(None, queues.close)


def make_cluster(config: ClusterConfig) -> Cluster:
    """An upstream, of its configuration."""
    paths = [address.path for address in config.endpoints if address.path is not None]
    tls = config.tls
    return Cluster(
        name=config.name,
        endpoints=tuple(
            (address.host, address.port) for address in config.endpoints if address.path is None
        ),
        path=str(paths[0]) if paths else None,
        tls=None
        if tls is None
        else TlsOptions(tls.sni, None if tls.ca_file is None else str(tls.ca_file), tls.insecure),
        connect_timeout=config.connect_timeout,
        idle_timeout=config.idle_timeout,
        max_connections=config.max_connections,
        max_pending=config.max_pending,
    )
