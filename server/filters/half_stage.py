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
from typing import TYPE_CHECKING, Any, Final

from anywasm.abi.buffer import Buffer
from anywasm.abi.callbacks import HttpCallbacks
from anywasm.abi.headers import HeaderMap
from anywasm.server.filters.direction import REQUEST, Direction, Sink

if TYPE_CHECKING:
    from anywasm.server.filters.stage import FilterStage

_CONTINUE: Final = 0
#: FilterHeadersStatus: 1 StopIteration; 2 was recorded to continue; all else stops everything.
_STOP_ITERATION: Final = 1
_HEADERS_CONTINUE: Final = frozenset({_CONTINUE, 2})
#: FilterDataStatus: StopIterationAndWatermark, StopIterationNoBuffer.
_STOP_AND_WATERMARK: Final = 2
_STOP_NO_BUFFER: Final = 3

Callback = Callable[..., Any]


class _Stop(Enum):
    """What is held up."""

    ALL = "all"
    HEADERS = "headers"
    BODY = "body"
    TRAILERS = "trailers"


class HalfStage(Sink):
    """A `Sink` in front of a guest.

    Args:
        stage: The filter in the stream.
        direction: Which way.
        sink: What comes next.
        callbacks: The guest's for headers, body and trailers; None for each that it has not.

    Attributes:
        busy: Whether the guest is being called, and has not answered yet.
    """

    __slots__ = (
        "_body",
        "_body_ends",
        "_bounded",
        "_chain",
        "_direction",
        "_held",
        "_held_ends",
        "_held_trailers",
        "_on_body",
        "_on_headers",
        "_on_trailers",
        "_over",
        "_queue",
        "_queued",
        "_sink",
        "_stage",
        "_stop",
        "busy",
    )

    def __init__(
        self,
        stage: FilterStage,
        direction: Direction,
        sink: Sink,
        callbacks: HttpCallbacks,
    ) -> None:
        self._stage = stage
        self._chain = stage.chain
        self._direction = direction
        self._sink = sink
        self._on_headers, self._on_body, self._on_trailers = callbacks
        self.busy = False
        self._stop: _Stop | None = None
        self._held: HeaderMap | None = None
        self._held_ends = False
        self._held_trailers: HeaderMap | None = None
        self._body: Buffer | None = None
        self._body_ends = False
        self._bounded = True
        self._over = False
        self._queue: deque[tuple[bytes | HeaderMap, bool]] | None = None
        self._queued = 0

    # --- as a Sink ---

    def headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Show the headers to the guest."""
        stage, chain, direction = self._stage, self._chain, self._direction
        if direction is REQUEST:
            if self._over or not chain.deciding:
                return
            if not stage.begun:
                # A stream's first event makes its context.
                if not stage.inline:
                    self.busy = True
                    stage.begin_elsewhere(self, lambda: self._began(headers, end_stream))
                    return
                if not stage.begin():
                    return
        elif self._over or chain.superseded:
            return
        elif stage.begun:
            stage.context.responding = True
        if stage.ended or not stage.begun or stage.guest.failed is not None:
            if not stage.breaks():
                self._sink.headers(headers, end_stream)
            return
        callback = self._on_headers
        if callback is None:
            self._sink.headers(headers, end_stream)
            return
        stage.maps[direction.headers] = self._held = headers
        self._held_ends = end_stream
        if not stage.inline:
            self._call(callback, self._after_headers, len(headers), 1 if end_stream else 0)
            return
        # As `_call` and what follows from it, in one piece: all streams come here, and most go on.
        self.busy = True
        action = stage.call(callback, len(headers), 1 if end_stream else 0)
        if action is None:
            return
        if action != _CONTINUE or self._queue or stage.acted or not self._holds():
            self._returned(self._after_headers, action)
            return
        self.busy = False
        stage.maps[direction.headers] = self._held = None
        self._sink.headers(headers, end_stream)

    def _holds(self) -> bool:
        """Whether headers are held still: what the guest injects lets go of them."""
        return self._held is not None

    def _began(self, headers: HeaderMap, end_stream: bool) -> None:
        self.busy = False
        self.headers(headers, end_stream)
        if self._queue:
            self._drain()

    def data(self, data: bytes, end_stream: bool) -> None:
        """Show a piece of the body to the guest, with what it has paused on before."""
        stage, chain, stop = self._stage, self._chain, self._stop
        if self._over or (not chain.deciding if self._direction is REQUEST else chain.superseded):
            return
        if self.busy or stop is _Stop.ALL or stop is _Stop.TRAILERS:
            self._enqueue(data, end_stream)
            self._queued += len(data)
            self._tell_held()
            return
        if (
            (self._on_body is None and stop is None)
            or stage.ended
            or not stage.begun
            or stage.guest.failed is not None
        ):
            if stage.guest.failed is None or not stage.breaks():
                self._sink.data(data, end_stream)
            return
        body = self._body
        if body is None:
            body = self._body = Buffer(data)
        else:
            size = len(body.data) + len(data)
            if data and self._bounded and not self._chain.may_collect(self._direction, size):
                return
            body.data += data
        self._body_ends = end_stream
        stage.context.buffers[self._direction.body] = body
        if end_stream:
            # As in Envoy, a guest may add trailers at the end of the body.
            stage.maps[self._direction.trailers] = HeaderMap()
        self._call(self._on_body, self._after_data, len(body.data), 1 if end_stream else 0)

    def trailers(self, trailers: HeaderMap) -> None:
        """Show the trailers to the guest; a paused body can still be read and replaced."""
        if self._shut():
            return
        if self._waits():
            self._enqueue(trailers, True)
            return
        stage = self._stage
        if (self._on_trailers is None and self._stop is None) or not stage.takes:
            if not stage.breaks():
                self._sink.trailers(trailers)
            return
        self._held_trailers = trailers
        stage.maps[self._direction.trailers] = trailers
        self._call(self._on_trailers, self._after_trailers, len(trailers.pairs), None)

    def _shut(self) -> bool:
        """Whether nothing more goes this way: it was answered otherwise, or ended by the guest."""
        chain = self._chain
        return self._over or (
            not chain.deciding if self._direction is REQUEST else chain.superseded
        )

    def _waits(self) -> bool:
        return self.busy or self._stop is _Stop.ALL or self._stop is _Stop.TRAILERS

    def _enqueue(self, what: bytes | HeaderMap, end_stream: bool) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append((what, end_stream))

    def _call(
        self,
        callback: Callback | None,
        then: Callable[[int], None],
        size: int,
        end_stream: int | None,
    ) -> None:
        """Call the guest, which takes time where it lives in a thread of its own."""
        stage = self._stage
        if callback is None:
            then(_CONTINUE)
            return
        self.busy = True
        if stage.inline:
            action = stage.call(callback, size, end_stream)
            if action is not None:
                self._returned(then, action)
        else:
            stage.call_elsewhere(
                self, callback, size, end_stream, lambda action: self._returned(then, action)
            )

    def _returned(self, then: Callable[[int], None], action: int) -> None:
        self.busy = False
        context = self._stage.context
        continued = context.continued
        if continued and self._direction.stream in continued:
            context.continued = continued - {self._direction.stream}
            action = _CONTINUE
        then(action)
        if self._queue:
            self._drain()
        if context.continued:
            self._stage.resume()

    # --- what the guest answered ---

    def _after_headers(self, action: int) -> None:
        if action in _HEADERS_CONTINUE:
            self._pass_headers()
            return
        if action == _STOP_ITERATION and self._stage.serving.plugin.stops_iteration:
            self._pause(_Stop.HEADERS)
            if self._direction is REQUEST:
                self._chain.ask_for_body()
        else:
            self._pause(_Stop.ALL)

    def _after_data(self, action: int) -> None:
        if action == _CONTINUE:
            self._pass_all()
            return
        if action == _STOP_NO_BUFFER and self._body is not None:
            self._body.data = b""
        self._bounded = action != _STOP_AND_WATERMARK
        self._pause(_Stop.BODY)
        if not self._bounded:
            self._tell_held()

    def _after_trailers(self, action: int) -> None:
        if action == _CONTINUE:
            self._pass_all()
        else:
            self._pause(_Stop.TRAILERS)

    def _pause(self, stop: _Stop) -> None:
        self._stop = stop
        self._chain.timers.paused(self)

    def resume(self) -> None:
        """Let go of everything; the guest has asked for it after it had paused."""
        if self._stop is not None and not self._shut():
            self.release()

    def release(self) -> None:
        """Let go of everything that is held, whatever for."""
        self.busy = False
        self._pass_all()
        if self._queue:
            self._drain()

    def inject(self, data: bytes, end_stream: bool) -> None:
        """Pass a piece of body on that the guest brought itself (Higress)."""
        if not self._shut():
            self._pass_headers()
            self._sink.data(data, end_stream)
            self._over = end_stream

    def _pass_headers(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        if self._stop is _Stop.HEADERS or self._stop is _Stop.ALL:
            self._stop = None
            self._chain.timers.resumed(self)
        self._stage.maps[self._direction.headers] = None
        self._sink.headers(held, self._held_ends)

    def _pass_all(self) -> None:
        stage, direction = self._stage, self._direction
        if self._stop is not None:
            self._stop = None
            self._chain.timers.resumed(self)
        body, self._body = self._body, None
        trailers, self._held_trailers = self._held_trailers, None
        ends = self._body_ends
        if body is not None:
            stage.context.buffers[direction.body] = None
            if trailers is None and ends:
                added = stage.maps[direction.trailers]
                trailers = added if added is not None and added.pairs else None
        stage.maps[direction.trailers] = None
        self._pass_headers()
        if body is not None and not self._shut():
            ends = ends and trailers is None
            if body.data or ends:
                self._sink.data(body.data, ends)
        if trailers is not None and not self._shut():
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
        self._tell_held()

    def _tell_held(self) -> None:
        held = self._queued
        if self._stop is _Stop.BODY and not self._bounded and self._body is not None:
            held += len(self._body.data)
        self._chain.holding(self, self._direction, held)
