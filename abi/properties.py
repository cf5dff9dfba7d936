"""Properties: paths into what is known about a stream, and how values are told to guests.

Which paths exist, and what they answer in which phase, is what Envoy 1.40 was recorded to answer
(golden case `edge-props`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from anywasm.abi.context import Context, StreamContext
from anywasm.abi.enums import MapType, Status
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import encode_pairs

if TYPE_CHECKING:
    from anywasm.abi.stream_info import Endpoint

#: The longest path that is looked at.
MAX_PATH = 4096
#: Values that guests may set for one stream, and the bytes of all of them.
MAX_STATE = 1024
MAX_STATE_BYTES = 1024 * 1024

_WASM = b"wasm."
_PLUGIN: dict[bytes, Callable[[Context], str]] = {
    b"plugin_name": lambda context: context.plugin.name,
    b"plugin_root_id": lambda context: context.plugin.root_id,
    b"plugin_vm_id": lambda context: context.plugin.vm_id,
}


def split_path(path: bytes) -> list[bytes]:
    """The segments of a path; one NUL at its end is tolerated, as some SDKs send it."""
    return path.removesuffix(b"\0").split(b"\0")


@lru_cache(maxsize=1024)
def _read_path(path: bytes) -> tuple[bytes, list[bytes]]:
    """The first segment and the others; guests ask for few paths, and for these all the time."""
    first, *rest = split_path(path)
    return first, rest


def encode_int(value: int) -> bytes:
    """An integer property: 64 bits, little-endian."""
    return struct.pack("<q" if value < 0 else "<Q", value)


def get_property(context: Context, path: bytes) -> bytes | Status:
    """The value at `path`, serialized; NOT_FOUND where there is none."""
    if len(path) > MAX_PATH:
        return Status.NOT_FOUND
    first, rest = _read_path(path)
    if not first and not rest:
        return Status.SERIALIZATION_FAILURE
    if first in _PLUGIN:
        return Status.NOT_FOUND if rest else _PLUGIN[first](context).encode()
    if not isinstance(context, StreamContext):
        return Status.NOT_FOUND
    resolve = _STREAM.get(first)
    value = None if resolve is None else resolve(context, rest)
    if value is None and not rest:
        value = context.info.filter_state.get(_WASM + first)
    if value is None and context.plugin.profile == "higress" and not rest:
        value = _higress(context, first)
    return Status.NOT_FOUND if value is None else value


def set_property(context: Context, path: bytes, value: bytes) -> Status | None:
    """Keep a value for the stream, where every later filter finds it.

    Envoy stores it as filter state under a `wasm.` prefix, whole path and all: a path of several
    segments is kept but cannot be read back. INTERNAL_FAILURE past the limits.
    """
    if not isinstance(context, StreamContext) or len(path) > MAX_PATH:
        return Status.NOT_FOUND
    state = context.info.filter_state
    name = _WASM + path
    held = sum(map(len, state.values())) - len(state.get(name, b""))
    if held + len(value) > MAX_STATE_BYTES or (len(state) >= MAX_STATE and name not in state):
        return Status.INTERNAL_FAILURE
    state[name] = value
    return None


Value = bytes | Status | None


def _headers(context: StreamContext, kind: MapType, rest: list[bytes]) -> Value:
    headers = context.maps[kind]
    if not rest:
        # An absent map is told as an empty one, with its count.
        return encode_pairs(list(_joined(headers).items())) if headers else bytes(4)
    return None if headers is None or len(rest) > 1 else _joined(headers).get(rest[0].lower())


def _joined(headers: HeaderMap) -> dict[bytes, bytes]:
    """Each name once, with all its values, as a property's map has them."""
    values: dict[bytes, bytes] = {}
    for name, value in headers.pairs:
        values[name] = values[name] + b"," + value if name in values else value
    return values


def _path(headers: HeaderMap) -> bytes | None:
    return headers.get(b":path")


def _url_path(headers: HeaderMap) -> bytes | None:
    path = headers.get(b":path")
    return None if path is None else path.partition(b"?")[0].partition(b"#")[0]


def _query(headers: HeaderMap) -> bytes | None:
    path = headers.get(b":path")
    return None if path is None else path.partition(b"#")[0].partition(b"?")[2]


def _header(name: bytes) -> Callable[[HeaderMap], bytes | None]:
    return lambda headers: headers.get(name)


_REQUEST_HEADERS: dict[bytes, Callable[[HeaderMap], bytes | None]] = {
    b"path": _path,
    b"url_path": _url_path,
    b"query": _query,
    b"host": _header(b":authority"),
    b"scheme": _header(b":scheme"),
    b"method": _header(b":method"),
    b"referer": _header(b"referer"),
    b"useragent": _header(b"user-agent"),
    b"id": _header(b"x-request-id"),
}


def _request(context: StreamContext, rest: list[bytes]) -> Value:
    if not rest:
        return Status.SERIALIZATION_FAILURE
    name, *more = rest
    if name == b"headers":
        return _headers(context, MapType.HTTP_REQUEST_HEADERS, more)
    if more:
        return None
    headers = context.maps[MapType.HTTP_REQUEST_HEADERS]
    if name in _REQUEST_HEADERS:
        return None if headers is None else _REQUEST_HEADERS[name](headers)
    info = context.info
    if name == b"time":
        return encode_int(info.start_time)
    if name == b"protocol":
        return info.protocol.encode()
    if name == b"size":
        return encode_int(info.request_size)
    if name == b"total_size":
        return encode_int(info.request_size + (headers.byte_size if headers is not None else 0))
    if name == b"duration" and info.duration is not None:
        return encode_int(info.duration)
    return None


def _response(context: StreamContext, rest: list[bytes]) -> Value:
    if not rest:
        return Status.SERIALIZATION_FAILURE
    name, *more = rest
    if name == b"headers":
        return _headers(context, MapType.HTTP_RESPONSE_HEADERS, more)
    if name == b"trailers":
        return _headers(context, MapType.HTTP_RESPONSE_TRAILERS, more)
    if more:
        return None
    info = context.info
    if name == b"code":
        return None if info.response_code is None else encode_int(info.response_code)
    if name == b"code_details":
        details = info.response_code_details
        return None if details is None else details.encode()
    if name == b"flags":
        return encode_int(info.response_flags)
    if name == b"size":
        return encode_int(info.response_size)
    headers = context.maps[MapType.HTTP_RESPONSE_HEADERS]
    if name == b"total_size":
        return encode_int(info.response_size + (headers.byte_size if headers is not None else 0))
    if name == b"grpc_status" and headers is not None:
        value = headers.get(b"grpc-status")
        # A gRPC status has two digits at most; an upstream may send anything.
        return encode_int(int(value)) if value and value.isdigit() and len(value) < 10 else None
    return None


def _peer(endpoint: Callable[[StreamContext], Endpoint | None]) -> _Resolve:
    def resolve(context: StreamContext, rest: list[bytes]) -> Value:
        if not rest:
            return Status.SERIALIZATION_FAILURE
        found = endpoint(context)
        if found is None or len(rest) > 1:
            return None
        host, port = found
        if rest[0] == b"address":
            return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
        return encode_int(port) if rest[0] == b"port" else None

    return resolve


def _upstream(context: StreamContext, rest: list[bytes]) -> Value:
    if rest == [b"local_address"]:
        local = context.info.upstream_local
        return None if local is None else f"{local[0]}:{local[1]}".encode()
    return _peer(lambda context: context.info.upstream)(context, rest)


def _connection(context: StreamContext, rest: list[bytes]) -> Value:
    if not rest:
        return Status.SERIALIZATION_FAILURE
    info = context.info
    values: dict[bytes, bytes | None] = {
        b"id": encode_int(info.connection_id),
        b"mtls": b"\0",
        b"requested_server_name": info.server_name.encode(),
        b"tls_version": None if info.tls_version is None else info.tls_version.encode(),
    }
    return values.get(rest[0]) if len(rest) == 1 else None


def _xds(context: StreamContext, rest: list[bytes]) -> Value:
    if not rest:
        return Status.SERIALIZATION_FAILURE
    info = context.info
    values: dict[tuple[bytes, ...], str | None] = {
        (b"route_name",): info.route_name,
        (b"cluster_name",): info.cluster_name,
        (b"virtual_host_name",): info.virtual_host_name,
        (b"node", b"id"): info.node_id,
    }
    value = values.get(tuple(rest))
    return None if value is None else value.encode()


def _filter_state(context: StreamContext, rest: list[bytes]) -> Value:
    if not rest:
        return Status.SERIALIZATION_FAILURE
    return context.info.filter_state.get(b"\0".join(rest))


def _metadata(context: StreamContext, rest: list[bytes]) -> Value:
    return None if rest else b""


def _connection_id(context: StreamContext, rest: list[bytes]) -> Value:
    return None if rest else encode_int(context.info.connection_id)


def _higress(context: StreamContext, name: bytes) -> bytes | None:
    """What Higress's build of Envoy tells beside Envoy's own."""
    if name == b"plugin_vm_memory":
        # Of Higress's C++ plugins the name in their binaries; they log an error without it.
        return encode_int(context.guest.memory.size)
    info = context.info
    values = {b"route_name": info.route_name, b"cluster_name": info.cluster_name}
    value = values.get(name)
    return None if value is None else value.encode()


_Resolve = Callable[["StreamContext", list[bytes]], Value]

_STREAM: dict[bytes, _Resolve] = {
    b"request": _request,
    b"response": _response,
    b"source": _peer(lambda context: context.info.source),
    b"destination": _peer(lambda context: context.info.destination),
    b"upstream": _upstream,
    b"connection": _connection,
    b"connection_id": _connection_id,
    b"xds": _xds,
    b"filter_state": _filter_state,
    b"metadata": _metadata,
}
