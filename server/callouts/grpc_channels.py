"""The gRPC channels to clusters."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from anywasm.core.errors import AnyWasmError
from anywasm.server.callouts.grpc_service import GrpcUpstream, endpoint_text
from anywasm.server.upstream.cluster import Cluster, Endpoint, TlsOptions
from anywasm.server.upstream.endpoints import Endpoints

_log = logging.getLogger("anywasm.server.callouts")

#: Guests choose authorities, and each needs a channel of its own.
MAX_CHANNELS = 1024
_RECONNECT = 100, 5000  # milliseconds, first and longest


@cache
def load_grpc() -> Any:
    """The module `grpc` with `grpc.aio`, or None, said in the log once, without grpcio."""
    try:
        # Here, because it is large and most servers make no gRPC calls.
        import grpc.aio  # type: ignore[import-untyped]
    except ImportError:
        _log.error("guests cannot call gRPC upstreams: pip install 'anywasm[grpc]'")
        return None
    return grpc


class TooManyChannelsError(AnyWasmError):
    """Guests have asked for more authorities than there may be channels."""


class GrpcChannels:
    """Channels by cluster, endpoint and authority, kept until closed. Used on the event loop.

    A cluster's endpoints are used in turn, those that were just unavailable last, as for HTTP.

    Args:
        max_message_bytes: The largest message that is received.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._channels: dict[tuple[str, Endpoint, str], Any] = {}
        self._endpoints: dict[str, Endpoints] = {}

    def open(self, upstream: GrpcUpstream) -> tuple[Any, Callable[[bool], None]]:
        """A channel for one call.

        Returns:
            The channel, and whom to tell whether its endpoint was available.

        Raises:
            TooManyChannelsError: There are `MAX_CHANNELS` already.
        """
        cluster = upstream.cluster
        endpoints = self._endpoints.setdefault(cluster.name, Endpoints(cluster.addresses))
        now = asyncio.get_running_loop().time
        endpoint = endpoints.pick(now())

        def judge(available: bool) -> None:
            if available:
                endpoints.connected(endpoint)
            else:
                endpoints.failed(endpoint, now())

        key = cluster.name, endpoint, upstream.authority
        channel = self._channels.get(key)
        if channel is None:
            if len(self._channels) >= MAX_CHANNELS:
                raise TooManyChannelsError(f"there are {MAX_CHANNELS} gRPC channels already")
            channel = self._channels[key] = self._make(cluster, endpoint, upstream.authority)
        return channel, judge

    def _make(self, cluster: Cluster, endpoint: Endpoint, authority: str) -> Any:
        grpc = load_grpc()
        options: list[tuple[str, str | int]] = [
            ("grpc.max_receive_message_length", self._max_message_bytes),
            # The configuration alone decides where calls go, and how often.
            ("grpc.enable_http_proxy", 0),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.enable_retries", 0),
            # Guests' calls fail at once while a server is away, so notice soon that it is back.
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT[0]),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT[1]),
            ("grpc.min_reconnect_backoff_ms", int(cluster.connect_timeout * 1000)),
        ]
        if authority:
            options.append(("grpc.default_authority", authority))
        target = endpoint_text(endpoint)
        if isinstance(endpoint, str):
            target = f"unix:{target}"
        if cluster.tls is None:
            return grpc.aio.insecure_channel(target, options)
        if cluster.tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", cluster.tls.server_name))
        credentials = grpc.ssl_channel_credentials(_trusted(cluster.tls))
        return grpc.aio.secure_channel(target, credentials, options)

    async def close(self) -> None:
        """Close all of them; calls under way are cancelled."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()


def _trusted(tls: TlsOptions) -> bytes | None:
    """The authorities to trust, as PEM: the cluster's, the system's, or None for grpcio's own."""
    path = tls.ca_file or ssl.get_default_verify_paths().cafile
    return None if path is None else Path(path).read_bytes()
