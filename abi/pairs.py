"""The wire form of header maps (proxy-wasm spec, "Serialized map").

A u32 count, then for each pair the u32 lengths of key and value, then for each pair the key, a NUL,
the value and a NUL; all numbers little-endian. Order and duplicates are kept.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from anywasm.core.errors import AbiError

Pair = tuple[bytes, bytes]

#: What a guest may send at most, as in proxy-wasm-cpp-host (`limits.h`).
MAX_BYTES = 1024 * 1024
MAX_PAIRS = 1024

_U32 = struct.Struct("<I")
_LENGTHS = struct.Struct("<II")


def encode_pairs(pairs: Iterable[Pair]) -> bytes:
    """Serialize; an empty map is no bytes at all, as Envoy sends it."""
    pairs = pairs if isinstance(pairs, (list, tuple)) else list(pairs)
    if not pairs:
        return b""
    lengths: list[int] = []
    parts: list[bytes] = []
    for key, value in pairs:
        lengths += (len(key), len(value))
        parts += (key, value)
    count = len(pairs)
    head = struct.pack(f"<{1 + 2 * count}I", count, *lengths)
    return head + b"\0".join(parts) + b"\0"


def decode_pairs(data: bytes, max_pairs: int = MAX_PAIRS, max_bytes: int = MAX_BYTES) -> list[Pair]:
    """Deserialize, strictly.

    Args:
        data: What a guest sent. No bytes, a single zero byte and a zero count are empty maps.
        max_pairs: The most pairs that are taken.
        max_bytes: The most bytes that are taken.

    Raises:
        AbiError: When anything is inconsistent: a length past the end, a missing NUL, trailing
            bytes, or more than `max_pairs` pairs or `max_bytes` bytes.
    """
    if data in (b"", b"\0"):
        return []
    size = len(data)
    if size > max_bytes:
        raise AbiError(f"serialized map of {size} bytes is over the limit of {max_bytes}")
    if size < 4:
        raise AbiError(f"serialized map of {size} bytes has no count")
    (count,) = _U32.unpack_from(data)
    offset = 4 + 8 * count
    if count > max_pairs or offset > size:
        raise AbiError(f"serialized map of {size} bytes claims {count} pairs")
    pairs: list[Pair] = []
    for index in range(count):
        key_size, value_size = _LENGTHS.unpack_from(data, 4 + 8 * index)
        middle = offset + key_size
        end = middle + 1 + value_size
        if end >= size or data[middle] or data[end]:
            raise AbiError(f"serialized map: pair {index} is not terminated where its lengths say")
        pairs.append((data[offset:middle], data[middle + 1 : end]))
        offset = end + 1
    if offset != size:
        raise AbiError(f"serialized map has {size - offset} bytes after its last pair")
    return pairs
