"""How much a guest may have its host hold for it at a time."""

from __future__ import annotations

from dataclasses import dataclass

from anywasm.abi.buffer import MAX_BUFFER
from anywasm.abi.pairs import MAX_BYTES, MAX_PAIRS


@dataclass(frozen=True, slots=True)
class AbiLimits:
    """Bounds on what host functions take from guests.

    Attributes:
        pairs: Headers or trailers in one map.
        pairs_bytes: Bytes of one map, serialized or added up.
        buffer_bytes: Bytes of one body or other buffer, after a guest has written to it.
        calls_bytes: Bytes that the calls of one instance under way have sent, together; of gRPC
            streams what waits to be sent.
    """

    pairs: int = MAX_PAIRS
    pairs_bytes: int = MAX_BYTES
    buffer_bytes: int = MAX_BUFFER
    calls_bytes: int = 64 * 1024 * 1024
