"""Holds a request back while one of its filters is being started."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from anywasm.abi.headers import HeaderMap
from anywasm.plugins.errors import FilterStartingError
from anywasm.server.filters.direction import REQUEST, Sink

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain


class WaitingStage(Sink):
    """A `Sink` in the place of the whole chain, which is built once the filter has started.

    The start runs in another thread, so that only the streams that need it wait for it; and only
    for the filter's `timeouts.lease`, as for a free instance of a function.

    Args:
        chain: The stream's chain.
        starting: What keeps it.
        build: Builds the chain, and lets what is missing in it fail where it is not there yet.
    """

    def __init__(
        self, chain: FilterChain, starting: FilterStartingError, build: Callable[[], None]
    ) -> None:
        self._chain = chain
        self._build = build
        self._events: list[Callable[[Sink], None]] = []
        self._held = 0
        self._done = False
        loop = chain.listener.loop
        self._timer = loop.call_later(starting.patience, self._go_on)

        def started() -> None:
            if not loop.is_closed():  # the server has stopped meanwhile
                loop.call_soon_threadsafe(self._go_on)

        starting.wait(started)

    def _go_on(self) -> None:
        chain = self._chain
        if self._done:
            return
        self._done = True
        self._timer.cancel()
        if chain.finished or not chain.deciding:
            return
        self._build()
        chain.request_holds.set(self, False)
        for event in self._events:
            if chain.deciding:
                event(chain.request_way)
        chain.flush()

    def headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Keep them."""
        self._events.append(lambda sink: sink.headers(headers, end_stream))

    def data(self, data: bytes, end_stream: bool) -> None:
        """Keep them; the client waits once it is too much."""
        self._held += len(data)
        self._events.append(lambda sink: sink.data(data, end_stream))
        self._chain.holding(self, REQUEST, self._held)

    def trailers(self, trailers: HeaderMap) -> None:
        """Keep them."""
        self._events.append(lambda sink: sink.trailers(trailers))
