"""Integers, names and sections in the binary format (core spec, section 5.2), written."""

from __future__ import annotations


def u32(value: int) -> bytes:
    """An unsigned LEB128 integer, as short as it can be."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def signed(value: int) -> bytes:
    """A signed LEB128 integer, as short as it can be."""
    encoded = bytearray()
    while not -0x40 <= value < 0x40:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value & 0x7F)
    return bytes(encoded)


def sized(content: bytes) -> bytes:
    """The content behind its length, as names, function bodies and sections have it."""
    return u32(len(content)) + content
