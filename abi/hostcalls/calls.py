"""Calls to the outside: HTTP, gRPC, and Higress's Redis."""

from __future__ import annotations

import math
import re
import time

from anywasm.abi.calls import GrpcTarget, HttpCall, RedisServer
from anywasm.abi.context import Context, RootContext, StreamContext
from anywasm.abi.enums import LogLevel, Status, StreamType
from anywasm.abi.fields import valid_fields
from anywasm.abi.pairs import Pair, decode_pairs
from anywasm.abi.table import host_function
from anywasm.core.errors import AbiError

_NEGATIVE = 1 << 31
_NEEDED = (b":method", b":path", b":authority")

HIGRESS = ("0.2.100",)


def _pairs(context: Context, function: str, data: bytes) -> tuple[Pair, ...] | None:
    try:
        limits = context.guest.services.limits
        pairs = decode_pairs(data, limits.pairs, limits.pairs_bytes)
        return tuple((name.lower(), value) for name, value in pairs)
    except AbiError as error:
        context.log(LogLevel.ERROR, f"{function}: {error}")
        return None


def _time_left(context: Context) -> float | None:
    """What who waits has left, or None where nothing bounds that.

    A function's request has an end, and nobody would hear of an answer after it. A filter's has
    none here: as in Envoy its calls keep their own timeout, and the route's ends the stream.
    """
    waiting = context.guest.entered or context
    if waiting.deadline == math.inf:
        return None
    return max(0.0, waiting.deadline - time.monotonic())


def _time_for(context: Context, milliseconds: int) -> float | None:
    """The guest's own timeout, but no more than who waits has left."""
    timeout, left = milliseconds / 1000 if milliseconds else None, _time_left(context)
    return min((item for item in (timeout, left) if item is not None), default=None)


@host_function("proxy_http_call", "data data data data u32 -> u32")
def http_call(
    context: Context, upstream: bytes, headers: bytes, body: bytes, trailers: bytes, timeout: int
) -> int | Status:
    """Call a cluster; the answer comes in `proxy_on_http_call_response`."""
    head = _pairs(context, "proxy_http_call", headers)
    tail = _pairs(context, "proxy_http_call", trailers)
    root = context.root
    if head is None or tail is None or timeout >= _NEGATIVE or not isinstance(root, RootContext):
        return Status.BAD_ARGUMENT
    names = {name for name, value in head if value}
    if not names.issuperset(_NEEDED) or not valid_fields(head) or not valid_fields(tail):
        return Status.BAD_ARGUMENT
    cluster = upstream.decode(errors="replace")
    call = HttpCall(cluster, head, body, tail, _time_for(context, timeout))
    return context.guest.callouts.http_call(root, call)


def _target(
    context: Context, upstream: bytes, service: bytes, method: bytes, metadata: bytes
) -> GrpcTarget | None:
    pairs = _pairs(context, "proxy_grpc_call", metadata)
    if pairs is None:
        return None
    try:
        left = _time_left(context)
        return GrpcTarget(upstream, service.decode(), method.decode(), pairs, left)
    except UnicodeDecodeError:
        return None


@host_function("proxy_grpc_call", "data data data data data u32 -> u32")
def grpc_call(
    context: Context,
    upstream: bytes,
    service: bytes,
    method: bytes,
    metadata: bytes,
    message: bytes,
    timeout: int,
) -> int | Status:
    """Make a unary gRPC call; the answer comes in `proxy_on_grpc_receive` or `_close`."""
    target = _target(context, upstream, service, method, metadata)
    root = context.root
    if target is None or not isinstance(root, RootContext):
        return Status.PARSE_FAILURE
    seconds = timeout / 1000 if 0 < timeout < _NEGATIVE else None
    return context.guest.callouts.grpc_call(root, target, message, seconds)


@host_function("proxy_grpc_stream", "data data data data -> u32")
def grpc_stream(
    context: Context, upstream: bytes, service: bytes, method: bytes, metadata: bytes
) -> int | Status:
    """Open a gRPC stream."""
    target = _target(context, upstream, service, method, metadata)
    root = context.root
    if target is None or not isinstance(root, RootContext):
        return Status.PARSE_FAILURE
    return context.guest.callouts.grpc_stream(root, target)


@host_function("proxy_grpc_send", "u32 data u32")
def grpc_send(context: Context, call: int, message: bytes, end_stream: int) -> Status | None:
    """Send a message on a stream."""
    return context.guest.callouts.grpc_send(call, message, bool(end_stream))


@host_function("proxy_grpc_close", "u32")
def grpc_close(context: Context, call: int) -> Status | None:
    """Half-close a stream, or cancel a call."""
    return context.guest.callouts.grpc_close(call)


@host_function("proxy_grpc_cancel", "u32")
def grpc_cancel(context: Context, call: int) -> Status | None:
    """Reset a stream, or cancel a call."""
    return context.guest.callouts.grpc_cancel(call)


@host_function("proxy_get_status", "-> u32 data")
def get_status(context: Context) -> tuple[int, bytes]:
    """Code and message of what ended the gRPC call that is being told about."""
    root = context.root
    return root.status if isinstance(root, RootContext) else (0, b"")


# --- Higress -------------------------------------------------------------------------------------

_DATABASE = re.compile("[0-9]{1,9}")


def _cluster(upstream: bytes) -> tuple[str, int]:
    """A cluster's name, and the database that may follow it as `?db=N`."""
    name, _, query = upstream.decode(errors="replace").partition("?")
    for item in query.split("&"):
        key, _, value = item.partition("=")
        if key == "db" and _DATABASE.fullmatch(value):
            return name, int(value)
    return name, 0


@host_function("proxy_redis_init", "data data data u32", versions=HIGRESS)
def redis_init(
    context: Context, upstream: bytes, username: bytes, password: bytes, timeout: int
) -> Status | None:
    """Say how to talk to the Redis behind a cluster."""
    redis = context.guest.services.redis
    name, database = _cluster(upstream)
    server = RedisServer(
        name,
        username.decode(errors="replace"),
        password.decode(errors="replace"),
        database,
        timeout / 1000,
    )
    if redis is None or not redis.configure(server, owner=context.plugin.name):
        return Status.BAD_ARGUMENT
    return None


@host_function("proxy_get_upstream_hosts", "-> data", versions=HIGRESS)
def get_upstream_hosts(context: Context) -> bytes | Status:
    """The hosts of the stream's cluster, as pairs of address and metrics."""
    hosts = context.upstream_hosts()
    return Status.NOT_FOUND if hosts is None else hosts


@host_function("proxy_set_upstream_override_host", "data", versions=HIGRESS)
def set_upstream_override_host(context: Context, address: bytes) -> Status | None:
    """Send the request to this host of its cluster; nothing happens where it has no such host."""
    if not isinstance(context, StreamContext):
        return Status.BAD_ARGUMENT
    context.override_host = address.decode("latin-1")
    return None


@host_function("proxy_inject_encoded_data_to_filter_chain", "data u32", versions=HIGRESS)
def inject_encoded_data(context: Context, body: bytes, end_stream: int) -> Status | None:
    """Put a piece of response body behind what the filter has passed on."""
    if not isinstance(context, StreamContext):
        return Status.BAD_ARGUMENT
    return context.inject(StreamType.HTTP_RESPONSE, body, bool(end_stream))


@host_function("proxy_redis_call", "data data -> u32", versions=HIGRESS)
def redis_call(context: Context, upstream: bytes, query: bytes) -> int | Status:
    """Send a command in RESP; the answer comes in `proxy_on_redis_call_response`."""
    root = context.root
    if not isinstance(root, RootContext):
        return Status.BAD_ARGUMENT
    cluster, left = _cluster(upstream)[0], _time_left(context)
    return context.guest.callouts.redis_call(root, cluster, query, left)
