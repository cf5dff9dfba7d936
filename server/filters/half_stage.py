"""One direction of one filter in one stream: what the guest is called with, and what it holds up.

The states are those of Envoy's filter manager. A guest that pauses on headers stops everything
until it continues, or, where it `stops_iteration`, only the headers: it still gets the body, and
continuing there lets the headers go, too. A guest that pauses on the body has it collected and sees
all of it each time; whatever lets it continue passes the whole collection on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from anywasm.abi.buffer import Buffer
from anywasm.abi.headers import HeaderMap
from anywasm.server.filters.direction import RESPONSE, Direction, Sink

if TYPE_CHECKING:
    from anywasm.server.filters.stage import FilterStage

_CONTINUE = 0
#: FilterHeadersStatus: 1 StopIteration; 2 was recorded to continue; all else stops everything.
_STOP_ITERATION = 1
_HEADERS_CONTINUE = frozenset({_CONTINUE, 2})
#: FilterDataStatus: StopIterationNoBuffer.
_STOP_NO_BUFFER = 3


class _Stop(Enum):
    """What is held up."""

    ALL = "all"
    HEADERS = "headers"
    BODY = "body"
    TRAILERS = "trailers"


class HalfStage:
    """A `Sink` in front of a guest.

    Args:
        stage: The filter in the stream.
        direction: Which way.
        sink: What comes next.
    """

    __slots__ = (
        "_body",
        "_body_ends",
        "_busy",
        "_direction",
        "_held",
        "_held_trailers",
        "_queue",
        "_queued",
        "_sink",
        "_stage",
        "_stop",
    )

    def __init__(self, stage: FilterStage, direction: Direction, sink: Sink) -> None:
        self._stage = stage
        self._direction = direction
        self._sink = sink
        self._stop: _Stop | None = None
        self._busy = False
        self._held: tuple[HeaderMap, bool] | None = None
        self._held_trailers: HeaderMap | None = None
        self._body: bytes | None = None
        self._body_ends = False
        self._queue: deque[tuple[bytes | HeaderMap, bool]] = deque()
        self._queued = 0

    def lead_to(self, sink: Sink) -> None:
        """Change what comes next; while the chain is being built."""
        self._sink = sink

    @property
    def paused(self) -> bool:
        """Whether the guest holds something up."""
        return self._stop is not None

    @property
    def held_bytes(self) -> int:
        """How much of the body waits here."""
        return self._queued + len(self._body or b"")

    # --- as a Sink ---

    def headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Show the headers to the guest."""
        stage = self._stage
        if stage.chain.superseded:
            return
        if not stage.takes(self._direction):
            self._sink.headers(headers, end_stream)
            return
        self._held = (headers, end_stream)
        if self._direction is RESPONSE:
            stage.context.responding = True
        stage.context.maps[self._direction.headers] = headers
        self._call(self._direction.on_headers, self._after_headers, len(headers), int(end_stream))

    def data(self, data: bytes, end_stream: bool) -> None:
        """Show a piece of the body to the guest, with what it has paused on before."""
        stage = self._stage
        if stage.chain.superseded:
            return
        if self._waits():
            self._queue.append((data, end_stream))
            self._queued += len(data)
            stage.chain.holding(self._direction, self.held_bytes)
            return
        if not stage.takes(self._direction):
            self._sink.data(data, end_stream)
            return
        if self._body is not None:
            if data and not stage.chain.may_collect(self._direction, len(self._body) + len(data)):
                return
            data = self._body + data
        self._body_ends = end_stream
        stage.context.buffers[self._direction.body] = Buffer(data)
        self._call(self._direction.on_body, self._after_data, len(data), int(end_stream))

    def trailers(self, trailers: HeaderMap) -> None:
        """Show the trailers to the guest; a paused body can still be read and replaced."""
        stage = self._stage
        if stage.chain.superseded:
            return
        if self._waits():
            self._queue.append((trailers, True))
            return
        if not stage.takes(self._direction):
            self._sink.trailers(trailers)
            return
        self._held_trailers = trailers
        stage.context.maps[self._direction.trailers] = trailers
        if self._body is not None:
            stage.context.buffers[self._direction.body] = Buffer(self._body)
        self._call(self._direction.on_trailers, self._after_trailers, len(trailers))

    def _waits(self) -> bool:
        return self._busy or self._stop is _Stop.ALL or self._stop is _Stop.TRAILERS

    def _call(self, name: str, then: Callable[[int], None], *args: int) -> None:
        """Call the guest, which takes time where it lives in a thread of its own."""
        stage = self._stage
        callback = getattr(stage.guest.callbacks, name)
        if callback is None:
            then(_CONTINUE)
            return
        self._busy = True
        stage.call(callback, args, lambda action: self._returned(then, action))

    def _returned(self, then: Callable[[int], None], action: int) -> None:
        self._busy = False
        if self._direction.stream in self._stage.context.continued:
            self._stage.context.continued.discard(self._direction.stream)
            action = _CONTINUE
        then(action)
        self._drain()

    # --- what the guest answered ---

    def _after_headers(self, action: int) -> None:
        if action in _HEADERS_CONTINUE:
            self._pass_headers()
            return
        lets_body = action == _STOP_ITERATION and self._stage.stops_iteration
        self._pause(_Stop.HEADERS if lets_body else _Stop.ALL)

    def _after_data(self, action: int) -> None:
        buffer = self._stage.context.buffers[self._direction.body]
        data = b"" if buffer is None else buffer.data
        if action == _CONTINUE:
            self._body = data
            self._pass_all()
        else:
            self._body = b"" if action == _STOP_NO_BUFFER else data
            self._pause(_Stop.BODY)

    def _after_trailers(self, action: int) -> None:
        buffer = self._stage.context.buffers[self._direction.body]
        if self._body is not None and buffer is not None:
            self._body = buffer.data
        if action == _CONTINUE:
            self._pass_all()
        else:
            self._pause(_Stop.TRAILERS)

    def _pause(self, stop: _Stop) -> None:
        self._stop = stop
        self._stage.chain.paused()

    def resume(self) -> None:
        """Let go of everything; the guest has asked for it after it had paused."""
        if self._stop is not None and not self._busy and not self._stage.chain.superseded:
            self._pass_all()
            self._drain()

    def inject(self, data: bytes, end_stream: bool) -> None:
        """Pass a piece of body on that the guest brought itself (Higress)."""
        self._pass_headers()
        self._sink.data(data, end_stream)

    def _pass_headers(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._stop = None
            self._stage.context.maps[self._direction.headers] = None
            self._sink.headers(*held)

    def _pass_all(self) -> None:
        context, direction = self._stage.context, self._direction
        self._stop = None
        context.maps[direction.headers] = None
        context.maps[direction.trailers] = None
        context.buffers[direction.body] = None
        self._pass_headers()
        body, self._body = self._body, None
        if body is not None and (body or self._body_ends):
            self._sink.data(body, self._body_ends)
        trailers, self._held_trailers = self._held_trailers, None
        if trailers is not None:
            self._sink.trailers(trailers)

    def _drain(self) -> None:
        """Take up what came while the guest was busy or had stopped everything."""
        queue = self._queue
        while queue and not self._waits():
            what, end_stream = queue.popleft()
            if isinstance(what, HeaderMap):
                self.trailers(what)
            else:
                self._queued -= len(what)
                self.data(what, end_stream)
        if not queue:
            self._stage.chain.holding(self._direction, 0)
