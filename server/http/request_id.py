"""The ids of requests that come without one."""

from __future__ import annotations

from random import getrandbits
from typing import Final

_MASK: Final = ~(0xF << 76 | 0x3 << 62)
_BITS: Final = 0x4 << 76 | 0x2 << 62


def request_id() -> bytes:
    """A random UUID (RFC 9562, version 4). It has to be unique, not secret."""
    digits = b"%032x" % (getrandbits(128) & _MASK | _BITS)
    return b"-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
