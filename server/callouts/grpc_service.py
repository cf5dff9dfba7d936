"""What a guest names as the upstream of a gRPC call."""

from __future__ import annotations

from dataclasses import dataclass

from anywasm.abi.protobuf import protobuf_fields
from anywasm.server.upstream import UpstreamClusters
from anywasm.server.upstream.cluster import Cluster

_ENVOY_GRPC, _GOOGLE_GRPC, _TIMEOUT, _INITIAL_METADATA = 1, 2, 3, 5
_NANOS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class GrpcUpstream:
    """Where a gRPC call goes, and how.

    Attributes:
        cluster: The cluster.
        authority: The `:authority` to send, empty for the endpoint's own.
        timeout: Seconds for the whole call, or None for no bound.
        metadata: Metadata to send before the call's own.
    """

    cluster: Cluster
    authority: str = ""
    timeout: float | None = None
    metadata: tuple[tuple[bytes, bytes], ...] = ()


def find_upstream(upstream: bytes, clusters: UpstreamClusters) -> GrpcUpstream | None:
    """Understand the upstream argument of `proxy_grpc_call`; thread-safe.

    It is a cluster's name, or a serialized `envoy.config.core.v3.GrpcService`. Of that,
    `envoy_grpc` names a cluster, and `google_grpc.target_uri` must be an endpoint of one: guests
    reach only what is configured, and the cluster's TLS settings rule over what they say.

    Returns:
        The upstream, or None where it is not understood or not configured.
    """
    try:
        pool = clusters.get(upstream.decode())
        if pool is not None:
            return GrpcUpstream(pool.cluster)
    except UnicodeDecodeError:
        pass
    try:
        return _read_service(upstream, clusters)
    except ValueError:  # UnicodeDecodeError is one
        return None


def _read_service(data: bytes, clusters: UpstreamClusters) -> GrpcUpstream | None:
    cluster: Cluster | None = None
    authority = ""
    timeout: float | None = None
    metadata: list[tuple[bytes, bytes]] = []
    for number, value in protobuf_fields(data):
        if number == _ENVOY_GRPC:
            fields = dict(protobuf_fields(_message(value)))
            pool = clusters.get(_text(fields.get(1, b"")))
            cluster = None if pool is None else pool.cluster
            authority = _text(fields.get(2, b""))
        elif number == _GOOGLE_GRPC:
            fields = dict(protobuf_fields(_message(value)))
            cluster = _cluster_at(_text(fields.get(1, b"")), clusters)
            authority = ""
        elif number == _TIMEOUT:
            timeout = _seconds(dict(protobuf_fields(_message(value))))
        elif number == _INITIAL_METADATA:
            fields = dict(protobuf_fields(_message(value)))
            text = _message(fields.get(2, b"")) or _message(fields.get(3, b""))
            metadata.append((_message(fields.get(1, b"")).lower(), text))
    if cluster is None:
        return None
    return GrpcUpstream(cluster, authority, timeout, tuple(metadata))


def _message(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where bytes are due")
    return value


def _text(value: bytes | int) -> str:
    return _message(value).decode()


def _seconds(fields: dict[int, bytes | int]) -> float | None:
    seconds, nanos = fields.get(1, 0), fields.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanos, int):
        raise ValueError("malformed duration")
    if seconds >= 1 << 63 or nanos >= _NANOS:
        raise ValueError("negative duration")
    return (seconds + nanos / _NANOS) or None


def _cluster_at(target: str, clusters: UpstreamClusters) -> Cluster | None:
    """The cluster that has the gRPC target as an endpoint."""
    for prefix in ("dns:///", "dns:", "ipv4:", "ipv6:", "unix://", "unix:"):
        if target.startswith(prefix):
            target = target.removeprefix(prefix)
            break
    for name in clusters.names:
        pool = clusters.get(name)
        if pool is not None and target in map(endpoint_text, pool.cluster.addresses):
            return pool.cluster
    return None


def endpoint_text(endpoint: tuple[str, int] | str) -> str:
    """An endpoint as `host:port`, `[ipv6]:port` or a path."""
    if isinstance(endpoint, str):
        return endpoint
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
