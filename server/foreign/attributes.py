"""What expressions can ask about a stream: Envoy's attributes, as Python values."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from anywasm.abi.context import Context, StreamContext
from anywasm.abi.enums import MapType
from anywasm.abi.foreign import declared_as_string
from anywasm.abi.properties import get_property
from anywasm.server.foreign.values import decode_duration, decode_time

_Decode = Callable[[bytes], object]


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _flag(data: bytes) -> bool:
    return data != b"\0"


_PEER: dict[str, _Decode] = {"address": _text, "port": _number}

#: The properties with a name inside, and how the bytes of each are read.
_FIELDS: dict[str, dict[str, _Decode]] = {
    "request": {
        **dict.fromkeys(
            ("path", "url_path", "query", "host", "scheme", "method"),
            _text,
        ),
        **dict.fromkeys(("referer", "useragent", "id", "protocol"), _text),
        "size": _number,
        "total_size": _number,
        "time": decode_time,
        "duration": decode_duration,
    },
    "response": {
        "code": _number,
        "code_details": _text,
        "flags": _number,
        "grpc_status": _number,
        "size": _number,
        "total_size": _number,
    },
    "source": _PEER,
    "destination": _PEER,
    "upstream": {**_PEER, "local_address": _text},
    "connection": {
        "id": _number,
        "mtls": _flag,
        "requested_server_name": _text,
        "tls_version": _text,
    },
    "xds": {"route_name": _text, "cluster_name": _text, "virtual_host_name": _text},
}
_MAPS: dict[str, dict[str, MapType]] = {
    "request": {"headers": MapType.HTTP_REQUEST_HEADERS},
    "response": {
        "headers": MapType.HTTP_RESPONSE_HEADERS,
        "trailers": MapType.HTTP_RESPONSE_TRAILERS,
    },
}
#: The properties that are one value. Whatever else guests have set is bytes, unless declared.
_PLAIN: dict[str, _Decode] = {
    **dict.fromkeys(("plugin_name", "plugin_root_id", "plugin_vm_id"), _text),
    # Higress's.
    **dict.fromkeys(("route_name", "cluster_name"), _text),
    "connection_id": _number,
}


def attributes(context: Context, names: Iterable[str]) -> dict[str, object]:
    """The attributes of those names, as far as there are any; only these are looked up.

    What has no value yet is left out, so that an expression that asks for it fails, as in Envoy.
    """
    found = {name: _attribute(context, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _attribute(context: Context, name: str) -> object | None:
    stream = context if isinstance(context, StreamContext) else None
    if name in _FIELDS:
        return None if stream is None else _fields(stream, name)
    if name == "filter_state":
        state = None if stream is None else stream.info.filter_state
        return None if state is None else {_text(key): value for key, value in state.items()}
    if name == "metadata":
        return None if stream is None else {}
    value = get_property(context, name.encode())
    if not isinstance(value, bytes):
        return None
    if name in _PLAIN or declared_as_string(context.root, name.encode()):
        return _PLAIN.get(name, _text)(value)
    return value


def _fields(stream: StreamContext, name: str) -> dict[str, object]:
    values: dict[str, object] = {}
    for field, decode in _FIELDS[name].items():
        value = get_property(stream, f"{name}\0{field}".encode())
        if isinstance(value, bytes):
            values[field] = decode(value)
    for field, kind in _MAPS.get(name, {}).items():
        values[field] = _headers(stream, kind)
    return values


def _headers(stream: StreamContext, kind: MapType) -> dict[str, str]:
    """Each name once, with all its values; an absent map is an empty one."""
    headers = stream.maps[kind]
    values: dict[str, str] = {}
    for key, value in () if headers is None else headers.pairs:
        name, text = _text(key), _text(value)
        values[name] = f"{values[name]},{text}" if name in values else text
    return values
