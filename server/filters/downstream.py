"""The end of the response's way: out to the client.

Headers are held until something follows them, so that a short answer is one write, and a
`content-length` that a filter has made wrong is put right. Whether they were released, and a later
failure must cut the connection, does not depend on that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.server.filters.direction import Sink
from anywasm.server.filters.message import (
    trailer_fields,
    without_length,
)
from anywasm.server.http import HttpExchange, InvalidResponseError
from anywasm.server.http.codec import wire_fields

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain

# Compiled code looks the names of modules up each time, but not what is final.
_wire_fields: Final = wire_fields
#: A body with a declared length is collected up to this size where a filter may change it.
COLLECT_MOST: Final = 64 * 1024
#: What a status may be, as it is written: up to three digits.
_CODES: Final = {b"%0*d" % (digits, code): code for digits in (1, 2, 3) for code in range(1000)}


class Downstream(Sink):
    """A `Sink` that writes to the client.

    Attributes:
        released: Whether response headers are on their way to the client.
    """

    __slots__ = ("_chain", "_collected", "_exchange", "_held", "_status", "released")

    def __init__(self, chain: FilterChain, exchange: HttpExchange) -> None:
        self._chain = chain
        self._exchange = exchange
        self._status = 0
        self._held: list[Pair] | None = None
        self._collected: bytearray | None = None
        self.released = False

    def headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Take the headers, to be written with what follows."""
        chain = self._chain
        chain.response = headers
        pairs = headers.pairs
        # Nearly always the first.
        usual = pairs and pairs[0][0] == b":status"
        status = pairs[0][1] if usual else headers.get(b":status") or b""
        code = _CODES.get(status, -1)
        if code == 101 and chain.tunnel is not None:
            self._open_tunnel(headers)
            return
        if not (code == 0 or code >= 200):
            chain.invalid_response(f"a filter set the status {status!r}")
            return
        self._status = chain.info.response_code = code
        self.released = True
        wire, length = _wire_fields(pairs, False)
        bodiless = self._exchange.method == b"HEAD"
        if end_stream:
            if length and not ((bodiless or code == 304) and length > 0):
                wire = without_length(wire)
            self._respond(wire, b"")
            return
        if length is not None and not bodiless:
            if length < 0:
                wire = without_length(wire)
            elif chain.response_may_change or length != chain.response_length:
                if length <= COLLECT_MOST:
                    self._collected = bytearray()
                else:
                    wire = without_length(wire)  # chunked instead
        self._held = wire

    def _open_tunnel(self, headers: HeaderMap) -> None:
        chain = self._chain
        assert chain.tunnel is not None
        problem = chain.tunnel.open(headers)
        if problem is None:
            self.released = True
            chain.info.response_code = 101
        else:
            chain.invalid_response(problem)

    def data(self, data: bytes, end_stream: bool) -> None:
        """Write a piece of the body."""
        if self._chain.finished:
            return
        self._chain.info.response_size += len(data)
        if self._collected is not None:
            self._collected += data
            if end_stream:
                body, self._collected = bytes(self._collected), None
                self._respond(without_length(self._held or []), body)
            elif len(self._collected) > COLLECT_MOST:
                self._held = without_length(self._held or [])
                self._stop_collecting()
            return
        if self._held is not None and end_stream:
            self._respond(self._held, data)
        elif self._write_head() and (data or end_stream):
            self._exchange.send_data(data, end_stream)

    def trailers(self, trailers: HeaderMap) -> None:
        """End the response with trailers."""
        chain = self._chain
        if chain.finished:
            return
        chain.response_trailers = trailers
        if self._collected is not None:
            self._held = without_length(self._held or [])
            self._stop_collecting()
        if not self._write_head():
            return
        try:
            self._exchange.send_trailers(trailer_fields(trailers))
        except InvalidResponseError as error:
            chain.invalid_response(str(error))

    def flush(self) -> None:
        """Write headers that nothing has followed yet, unless their length may still change."""
        if self._held is not None and self._collected is None:
            self._write_head()

    def cut(self, reason: str) -> None:
        """End the response so that the client sees that it is not whole."""
        self._collected = None
        if self._write_head():
            self._exchange.reset(reason)

    def _stop_collecting(self) -> None:
        collected, self._collected = self._collected, None
        if self._write_head() and collected:
            self._exchange.send_data(bytes(collected))

    def _write_head(self) -> bool:
        """Write headers that are held; False where the response is over."""
        held, self._held = self._held, None
        if held is not None:
            try:
                self._exchange.send_headers(self._status, held)
            except InvalidResponseError as error:
                self.released = False
                self._chain.invalid_response(str(error))
        return not self._chain.finished

    def _respond(self, headers: list[Pair], body: bytes) -> None:
        self._held = None
        try:
            self._exchange.respond(self._status, headers, body)
        except InvalidResponseError as error:
            self.released = False
            self._chain.invalid_response(str(error))
