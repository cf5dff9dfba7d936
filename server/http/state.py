"""What a listener shares with its connections."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from anywasm.server.http.counters import COUNTED, Counters
from anywasm.server.http.handler import AnswersAtOnce

if TYPE_CHECKING:
    from anywasm.server.http.connection import HttpConnection
    from anywasm.server.http.handler import AtOnce, HandlerFactory
    from anywasm.server.http.limits import HttpLimits


class ListenerState:
    """The part of a listener that its connections see; lives on one event loop.

    Attributes:
        factory: Makes the handler of each exchange.
        at_once: Answers plain requests without an exchange, or None.
        limits: What clients may do.
        counters: What is counted, but for the bytes of open connections; see `totals`.
        connections: Every open connection.
        draining: Responses say `connection: close`.
        refusing: Connections that were accepted but not seen yet are closed.
        date_line: The `date` header with its line end, empty if not wanted.
        server_line: The `server` header with its line end, empty if not wanted.
        all_closed: Set when the last connection goes; present while draining.
        default_lines: Both of them.
    """

    __slots__ = (
        "_date",
        "all_closed",
        "at_once",
        "connections",
        "counters",
        "date_line",
        "default_lines",
        "draining",
        "factory",
        "limits",
        "refusing",
        "server_line",
    )

    def __init__(
        self, factory: HandlerFactory, limits: HttpLimits, server: bytes | None, date: bool
    ) -> None:
        self.factory = factory
        self.at_once: AtOnce | None = (
            factory.at_once(self) if isinstance(factory, AnswersAtOnce) else None
        )
        self.limits = limits
        self.counters = Counters()
        self.connections: set[HttpConnection] = set()
        self.draining = False
        self.refusing = False
        self.date_line = b""
        self.server_line = b"" if server is None else b"server: " + server + b"\r\n"
        self.default_lines = self.server_line
        self.all_closed: asyncio.Event | None = None
        self._date = date

    def totals(self) -> Counters:
        """What was counted until now. Connections count their bytes themselves, while they last."""
        totals = Counters()
        for name in COUNTED:
            setattr(totals, name, getattr(self.counters, name))
        for connection in tuple(self.connections):
            totals.bytes_received += connection.bytes_received
            totals.bytes_sent += connection.bytes_sent
        return totals

    def connection_closed(self, connection: HttpConnection) -> None:
        """Forget a connection, and tell who waits for the last one."""
        self.connections.discard(connection)
        self.counters.bytes_received += connection.bytes_received
        self.counters.bytes_sent += connection.bytes_sent
        if not self.connections and self.all_closed is not None:
            self.all_closed.set()

    def tick(self) -> None:
        """Renew the date; called by the listener's timer, so that no response has to."""
        if self._date:
            self.date_line = b"date: " + formatdate(time.time(), usegmt=True).encode() + b"\r\n"
            self.default_lines = self.date_line + self.server_line
