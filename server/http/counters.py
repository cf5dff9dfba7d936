"""What a listener counts."""

from __future__ import annotations

from typing import Final

COUNTED: Final = (
    "bytes_received",
    "bytes_sent",
    "connections",
    "exchanges",
    "protocol_errors",
    "resets",
    "timeouts",
)


class Counters:
    """Totals since the listener was made: plain ints, written on the event loop.

    Attributes:
        connections: Connections accepted.
        exchanges: Requests given to a handler.
        resets: Exchanges that ended without a complete response of their handler.
        protocol_errors: Requests refused by the codec.
        timeouts: Connections ended by a timeout other than keep-alive idleness.
        bytes_received: Bytes read, before parsing.
        bytes_sent: Bytes given to the transport.
    """

    __slots__ = COUNTED

    def __init__(self) -> None:
        self.connections = 0
        self.exchanges = 0
        self.resets = 0
        self.protocol_errors = 0
        self.timeouts = 0
        self.bytes_received = 0
        self.bytes_sent = 0
