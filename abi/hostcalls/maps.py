"""Header and trailer maps.

A map that is not available now, or of an unknown number, is BAD_ARGUMENT, except that all its pairs
are read as none (recorded in the golden case `edge-headers`). A map holds as much as one that is
set as a whole may (`AbiLimits`); what is more is INTERNAL_FAILURE.

Each of these functions has an equal in C for the common case (`_maps.h`, bound through
`native.accelerated`), which hands what it refuses to the function here.
"""

from __future__ import annotations

from anywasm.abi.context import Context
from anywasm.abi.enums import LogLevel, MapType, Status
from anywasm.abi.fields import valid_field, valid_fields
from anywasm.abi.headers import HeaderMap
from anywasm.abi.limits import AbiLimits
from anywasm.abi.pairs import decode_pairs, encode_pairs
from anywasm.abi.table import host_function
from anywasm.core.errors import AbiError


def _fits(limits: AbiLimits, headers: HeaderMap, name: bytes, value: bytes) -> bool:
    more = len(name) + len(value)
    # So many bytes in each of all pairs are within the limit, and need no counting.
    if more * limits.pairs <= limits.pairs_bytes:
        return True
    return headers.byte_size + more <= limits.pairs_bytes


def _find(context: Context, kind: int) -> HeaderMap | None:
    if kind >= len(context.maps):
        return None
    # What calls to the outside bring belongs to the plugin, whichever context asks for it.
    owner = context if kind < MapType.GRPC_CALL_INITIAL_METADATA else context.root
    return owner.maps[kind]


@host_function("proxy_get_header_map_size", "u32 -> u32")
def get_header_map_size(context: Context, kind: int) -> int | Status:
    """The bytes of all names and values."""
    headers = _find(context, kind)
    return Status.BAD_ARGUMENT if headers is None else headers.byte_size


@host_function("proxy_get_header_map_pairs", "u32 -> data")
def get_header_map_pairs(context: Context, kind: int) -> bytes | Status:
    """The whole map, serialized."""
    if kind >= len(context.maps):
        return Status.BAD_ARGUMENT
    headers = _find(context, kind)
    return b"" if headers is None else encode_pairs(headers.pairs)


@host_function("proxy_set_header_map_pairs", "u32 data")
def set_header_map_pairs(context: Context, kind: int, serialized: bytes) -> Status | None:
    """Replace the whole map; nothing happens where the guest sent no valid one."""
    headers = _find(context, kind)
    if headers is None:
        return Status.BAD_ARGUMENT
    try:
        limits = context.guest.services.limits
        pairs = decode_pairs(serialized, limits.pairs, limits.pairs_bytes)
    except AbiError as error:
        context.log(LogLevel.ERROR, f"proxy_set_header_map_pairs: {error}")
        return Status.BAD_ARGUMENT
    if not valid_fields(pairs):
        return Status.BAD_ARGUMENT
    headers.set_pairs(pairs)
    return None


@host_function("proxy_get_header_map_value", "u32 data -> data")
def get_header_map_value(context: Context, kind: int, name: bytes) -> bytes | Status:
    """The first value of a header; ABI 0.1.0 gets an empty one where there is none."""
    headers = _find(context, kind)
    if headers is None:
        return Status.BAD_ARGUMENT
    value = headers.get(name)
    if value is None:
        return b"" if context.guest.abi.name == "0.1.0" else Status.NOT_FOUND
    return value


@host_function("proxy_add_header_map_value", "u32 data data")
def add_header_map_value(context: Context, kind: int, name: bytes, value: bytes) -> Status | None:
    """Append a header."""
    headers = _find(context, kind)
    if headers is None or not valid_field(name, value):
        return Status.BAD_ARGUMENT
    limits = context.guest.services.limits
    if len(headers.pairs) >= limits.pairs or not _fits(limits, headers, name, value):
        return Status.INTERNAL_FAILURE
    headers.add(name, value)
    return None


@host_function("proxy_replace_header_map_value", "u32 data data")
def replace_header_map_value(
    context: Context, kind: int, name: bytes, value: bytes
) -> Status | None:
    """Set a header, or add it."""
    headers = _find(context, kind)
    if headers is None or not valid_field(name, value):
        return Status.BAD_ARGUMENT
    limits = context.guest.services.limits
    if len(headers.pairs) >= limits.pairs and headers.get(name) is None:
        return Status.INTERNAL_FAILURE
    if not _fits(limits, headers, name, value):
        return Status.INTERNAL_FAILURE
    headers.replace(name, value)
    return None


@host_function("proxy_remove_header_map_value", "u32 data")
def remove_header_map_value(context: Context, kind: int, name: bytes) -> Status | None:
    """Remove a header, if it is there."""
    headers = _find(context, kind)
    if headers is None:
        return Status.BAD_ARGUMENT
    headers.remove(name)
    return None
