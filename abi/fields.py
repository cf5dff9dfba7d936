"""Which header names and values a guest may put into a message.

Whatever would break the framing of HTTP/1.1 (RFC 9110, section 5) is refused where the guest says
it, so that nothing can be smuggled onto the wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from anywasm.abi.pairs import Pair

_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@lru_cache(maxsize=1024)
def _valid_name(name: bytes) -> bool:
    """Guests use few names, and these in every stream."""
    return _NAME.fullmatch(name) is not None


def valid_field(name: bytes, value: bytes) -> bool:
    """Whether a header can be sent: a token as name, no CR, LF or NUL in the value."""
    return _valid_name(name) and not (b"\n" in value or b"\r" in value or b"\0" in value)


def valid_fields(pairs: Iterable[Pair]) -> bool:
    """Whether all of these headers can be sent."""
    return all(valid_field(name, value) for name, value in pairs)
