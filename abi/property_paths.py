"""The paths of properties, into what is known about a stream, and how values are told to guests.

Which paths exist, and what they answer in which phase, is what Envoy 1.40 was recorded to answer
(golden case `edge-props`). A path is read once: guests ask for few, and for these in every stream.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from anywasm.abi.enums import MapType, Status
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import encode_pairs

#: Paths that are remembered.
MAX_FOUND = 1024

Value = bytes | Status | None
#: From a stream's context (a plugin's own properties: from any) to a value.
Resolve = Callable[[Any], Value]


class PropertyKind(IntEnum):
    """Where a value is, for those who need not call `Property.resolve`: the extension."""

    #: Only `resolve` knows.
    OTHER = 0
    #: A text of the context's plugin, by the attribute's name.
    PLUGIN = 1
    #: A text, or None, of the stream's `StreamInfo`.
    TEXT = 2
    #: A number, or None, of it.
    NUMBER = 3
    #: An endpoint, or None, of it: both parts.
    ADDRESS = 4
    #: An endpoint, or None, of it: the port.
    PORT = 5
    #: The first value of a request header, by its name.
    REQUEST_HEADER = 6
    #: What a guest has set, by the name in `StreamInfo.filter_state`.
    STATE = 7
    #: The same by the first of two names; below it, for Higress, the text by the second.
    HIGRESS_TEXT = 8
    #: The same, and the size of the guest's memory.
    HIGRESS_MEMORY = 9


class Property(NamedTuple):
    """What is known about a path.

    Attributes:
        resolve: Finds the value; None where there is none now.
        kind: Where it is.
        name: What it is called there.
    """

    resolve: Resolve
    kind: PropertyKind = PropertyKind.OTHER
    name: str | bytes | tuple[bytes, str] = ""


def encode_int(value: int) -> bytes:
    """An integer property: 64 bits, little-endian."""
    return struct.pack("<q" if value < 0 else "<Q", value)


def split_path(path: bytes) -> list[bytes]:
    """The segments of a path; one NUL at its end is tolerated, as some SDKs send it."""
    return path.removesuffix(b"\0").split(b"\0")


def find_property(path: bytes) -> Property:
    """What is at a path, of whatever bytes."""
    found = FOUND.get(path)
    if found is None:
        found = _read(path)
        if len(FOUND) >= MAX_FOUND:
            FOUND.clear()  # guests choose what is in it
        FOUND[path] = found
    return found


def _read(path: bytes) -> Property:
    known = _KNOWN.get(path.removesuffix(b"\0"))
    if known is not None:
        return known
    first, *rest = split_path(path)
    if not rest:
        return _own(first)
    if first == b"filter_state":
        return _state(b"\0".join(rest))
    kind = _MAPS.get((first, rest[0]))
    return _field(kind, rest[1].lower()) if kind is not None and len(rest) == 2 else _NOWHERE


# --- kinds of values -----------------------------------------------------------------------------


def _constant(value: Value) -> Property:
    return Property(lambda context: value)


def _plugin(name: str) -> Property:
    def resolve(context: Any) -> Value:
        text: str = getattr(context.plugin, name)
        return text.encode()

    return Property(resolve, PropertyKind.PLUGIN, name)


def _text(name: str) -> Property:
    def resolve(context: Any) -> Value:
        text: str | None = getattr(context.info, name)
        return None if text is None else text.encode()

    return Property(resolve, PropertyKind.TEXT, name)


def _number(name: str) -> Property:
    def resolve(context: Any) -> Value:
        number: int | None = getattr(context.info, name)
        return None if number is None else encode_int(number)

    return Property(resolve, PropertyKind.NUMBER, name)


def _address(name: str) -> Property:
    def resolve(context: Any) -> Value:
        endpoint = getattr(context.info, name)
        if endpoint is None:
            return None
        host, port = endpoint
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()

    return Property(resolve, PropertyKind.ADDRESS, name)


def _port(name: str) -> Property:
    def resolve(context: Any) -> Value:
        endpoint = getattr(context.info, name)
        return None if endpoint is None else encode_int(endpoint[1])

    return Property(resolve, PropertyKind.PORT, name)


def _local_address(context: Any) -> Value:
    local = context.info.upstream_local
    return None if local is None else f"{local[0]}:{local[1]}".encode()


def _request_header(name: bytes) -> Property:
    def resolve(context: Any) -> Value:
        headers: HeaderMap | None = context.maps[MapType.HTTP_REQUEST_HEADERS]
        return None if headers is None else headers.get(name)

    return Property(resolve, PropertyKind.REQUEST_HEADER, name)


def _of_path(part: Callable[[bytes], bytes]) -> Property:
    def resolve(context: Any) -> Value:
        headers: HeaderMap | None = context.maps[MapType.HTTP_REQUEST_HEADERS]
        path = None if headers is None else headers.get(b":path")
        return None if path is None else part(path)

    return Property(resolve)


def _total_size(size: str, kind: MapType) -> Property:
    def resolve(context: Any) -> Value:
        headers: HeaderMap | None = context.maps[kind]
        of_headers = 0 if headers is None else headers.byte_size
        return encode_int(getattr(context.info, size) + of_headers)

    return Property(resolve)


def _grpc_status(context: Any) -> Value:
    headers: HeaderMap | None = context.maps[MapType.HTTP_RESPONSE_HEADERS]
    value = None if headers is None else headers.get(b"grpc-status")
    # A gRPC status has two digits at most; an upstream may send anything.
    return encode_int(int(value)) if value and value.isdigit() and len(value) < 10 else None


def _map(kind: MapType) -> Property:
    def resolve(context: Any) -> Value:
        headers: HeaderMap | None = context.maps[kind]
        # An absent map is told as an empty one, with its count; of one each name is told once.
        if not headers:
            return bytes(4)
        values: dict[bytes, bytes] = {}
        for name, value in headers.pairs:
            values[name] = values[name] + b"," + value if name in values else value
        return encode_pairs(list(values.items()))

    return Property(resolve)


def _field(kind: MapType, name: bytes) -> Property:
    def resolve(context: Any) -> Value:
        headers: HeaderMap | None = context.maps[kind]
        if headers is None:
            return None
        values = [value for field, value in headers.pairs if field == name]
        return b",".join(values) if values else None

    return Property(resolve)


def _state(name: bytes) -> Property:
    def resolve(context: Any) -> Value:
        value: bytes | None = context.info.filter_state.get(name)
        return value

    return Property(resolve, PropertyKind.STATE, name)


def _own(name: bytes) -> Property:
    """What a guest has set by that name; what Higress's build of Envoy tells is below that."""
    key = b"wasm." + name
    state = _state(key)
    below = _HIGRESS.get(name)
    if below is None:
        return state

    def resolve(context: Any) -> Value:
        value = state.resolve(context)
        if value is None and context.plugin.profile == "higress":
            value = below.resolve(context)
        return value

    if below.kind is PropertyKind.TEXT:
        return Property(resolve, PropertyKind.HIGRESS_TEXT, (key, str(below.name)))
    return Property(resolve, PropertyKind.HIGRESS_MEMORY, (key, "size"))


# --- paths ---------------------------------------------------------------------------------------

_NOWHERE = _constant(None)
_INCOMPLETE = _constant(Status.SERIALIZATION_FAILURE)

#: Of Higress's C++ plugins `plugin_vm_memory` is a name in their binaries; they log an error
#: without it.
_HIGRESS = {
    b"plugin_vm_memory": Property(lambda context: encode_int(context.guest.memory.size)),
    b"route_name": _text("route_name"),
    b"cluster_name": _text("cluster_name"),
}

_MAPS = {
    (b"request", b"headers"): MapType.HTTP_REQUEST_HEADERS,
    (b"response", b"headers"): MapType.HTTP_RESPONSE_HEADERS,
    (b"response", b"trailers"): MapType.HTTP_RESPONSE_TRAILERS,
}

_KNOWN: dict[bytes, Property] = {
    path.replace(b".", b"\0"): known
    for path, known in {
        b"": _INCOMPLETE,
        b"plugin_name": _plugin("name"),
        b"plugin_root_id": _plugin("root_id"),
        b"plugin_vm_id": _plugin("vm_id"),
        b"request": _INCOMPLETE,
        b"request.path": _request_header(b":path"),
        b"request.url_path": _of_path(lambda path: path.partition(b"?")[0].partition(b"#")[0]),
        b"request.query": _of_path(lambda path: path.partition(b"#")[0].partition(b"?")[2]),
        b"request.host": _request_header(b":authority"),
        b"request.scheme": _request_header(b":scheme"),
        b"request.method": _request_header(b":method"),
        b"request.referer": _request_header(b"referer"),
        b"request.useragent": _request_header(b"user-agent"),
        b"request.id": _request_header(b"x-request-id"),
        b"request.headers": _map(MapType.HTTP_REQUEST_HEADERS),
        b"request.time": _number("start_time"),
        b"request.protocol": _text("protocol"),
        b"request.size": _number("request_size"),
        b"request.total_size": _total_size("request_size", MapType.HTTP_REQUEST_HEADERS),
        b"request.duration": _number("duration"),
        b"response": _INCOMPLETE,
        b"response.headers": _map(MapType.HTTP_RESPONSE_HEADERS),
        b"response.trailers": _map(MapType.HTTP_RESPONSE_TRAILERS),
        b"response.code": _number("response_code"),
        b"response.code_details": _text("response_code_details"),
        b"response.flags": _number("response_flags"),
        b"response.size": _number("response_size"),
        b"response.total_size": _total_size("response_size", MapType.HTTP_RESPONSE_HEADERS),
        b"response.grpc_status": Property(_grpc_status),
        b"source": _INCOMPLETE,
        b"source.address": _address("source"),
        b"source.port": _port("source"),
        b"destination": _INCOMPLETE,
        b"destination.address": _address("destination"),
        b"destination.port": _port("destination"),
        b"upstream": _INCOMPLETE,
        b"upstream.address": _address("upstream"),
        b"upstream.port": _port("upstream"),
        b"upstream.local_address": Property(_local_address),
        b"connection": _INCOMPLETE,
        b"connection.id": _number("connection_id"),
        b"connection.mtls": _constant(b"\0"),
        b"connection.requested_server_name": _text("server_name"),
        b"connection.tls_version": _text("tls_version"),
        b"connection_id": _number("connection_id"),
        b"xds": _INCOMPLETE,
        b"xds.route_name": _text("route_name"),
        b"xds.cluster_name": _text("cluster_name"),
        b"xds.virtual_host_name": _text("virtual_host_name"),
        b"xds.node.id": _text("node_id"),
        b"filter_state": _INCOMPLETE,
        b"metadata": _constant(b""),
    }.items()
}
#: What guests have asked for, as they wrote it; the extension looks it up here, too.
FOUND: dict[bytes, Property] = {}
