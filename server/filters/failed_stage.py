"""The place in a chain of a filter that cannot serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.abi.headers import HeaderMap
from anywasm.server.filters.direction import Sink
from anywasm.server.filters.local_reply import FAILED, LocalReply

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain


class FailedStage(Sink):
    """A `Sink` that answers 503: the filters before it see the request, as in Envoy."""

    __slots__ = ("_chain", "_name")

    def __init__(self, chain: FilterChain, name: str) -> None:
        self._chain = chain
        self._name = name

    def link_request(self, following: Sink) -> Sink:
        """Take a place in the request's way; nothing gets past it."""
        return self

    def headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Answer the request."""
        self._chain.plugin = self._name
        self._chain.local_reply(LocalReply(503, details=FAILED))

    def data(self, data: bytes, end_stream: bool) -> None:
        """Drop it: the request was answered."""

    def trailers(self, trailers: HeaderMap) -> None:
        """Drop them: the request was answered."""
