"""Values of expressions, serialized as Envoy hands them to guests."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta, timezone

from anywasm.abi.pairs import encode_pairs
from anywasm.abi.property_paths import encode_int

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def encode_value(value: object) -> bytes:
    """A value as bytes: Envoy's `serializeValue`.

    Strings and bytes as they are, numbers in 8 bytes and bools in one, all little-endian; points in
    time and durations in nanoseconds; maps as serialized maps, lists as maps with empty values.

    Raises:
        ValueError: For anything else, null and types among them.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return encode_int(value)
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, datetime):
        return encode_value(value - _EPOCH)
    if isinstance(value, timedelta):
        return _int64(value // _MICROSECOND * 1000)
    if isinstance(value, dict):
        pairs = [(encode_value(key), encode_value(item)) for key, item in value.items()]
        return encode_pairs(pairs) or bytes(4)
    if isinstance(value, list):
        return encode_pairs([(encode_value(item), b"") for item in value]) or bytes(4)
    raise ValueError(f"no wire form for {type(value).__name__}")


def decode_time(data: bytes) -> datetime:
    """A point in time, of the 8 bytes of its property; microseconds are kept."""
    return _EPOCH + decode_duration(data)


def decode_duration(data: bytes) -> timedelta:
    """A duration, of the 8 bytes of its property; microseconds are kept."""
    return timedelta(microseconds=int.from_bytes(data, "little", signed=True) // 1000)


def _int64(value: int) -> bytes:
    """An integer, or the nearest that 64 bits hold, as Envoy's conversions saturate."""
    return struct.pack("<q", min(max(value, -(1 << 63)), (1 << 63) - 1))
