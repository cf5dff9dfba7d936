"""Raw bytes between client and upstream, after both have agreed on another protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.abi.headers import HeaderMap
from anywasm.server.filters.message import without_length
from anywasm.server.http import ExchangeStateError, HttpExchange, InvalidResponseError
from anywasm.server.http.codec import wire_fields
from anywasm.server.upstream import UpstreamStream

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain


class Tunnel:
    """One upgraded stream. Filters see the heads of both messages, and nothing of the bytes.

    Envoy shows its filters the bytes as bodies without end, which hardly any filter expects.

    Args:
        chain: The stream.
        exchange: The client's side.
        protocol: What the client asked for.
    """

    def __init__(self, chain: FilterChain, exchange: HttpExchange, protocol: bytes) -> None:
        self._chain = chain
        self._exchange = exchange
        self._protocol = protocol
        self._stream: UpstreamStream | None = None

    def agreed(self, stream: UpstreamStream) -> None:
        """The upstream switches; its bytes wait until the client has been told."""
        self._stream = stream
        self._chain.response_holds.set(self, True)

    def open(self, headers: HeaderMap) -> str | None:
        """Tell the client, and let the bytes flow.

        Returns:
            None, or why the client cannot switch.
        """
        if self._stream is None:
            return "the upstream has not switched protocols"
        protocol = headers.get(b"upgrade") or self._protocol
        wire = [*without_length(wire_fields(headers.pairs, False)[0]), (b"upgrade", protocol)]
        try:
            self._exchange.upgrade(wire, self._from_client)
        except (InvalidResponseError, ExchangeStateError) as error:
            return str(error)
        self._chain.response_holds.set(self, False)
        return None

    def from_upstream(self, data: bytes, end_stream: bool) -> None:
        """Pass on what the upstream sends."""
        chain = self._chain
        if chain.finished:
            return
        chain.touch()
        if end_stream:
            self._exchange.close_raw()
        else:
            chain.info.response_size += len(data)
            self._exchange.send_raw(data)

    def _from_client(self, data: bytes, end_stream: bool) -> None:
        assert self._stream is not None
        self._chain.touch()
        if end_stream:
            self._stream.close_raw()
        else:
            self._chain.info.request_size += len(data)
            self._stream.send_raw(data)
