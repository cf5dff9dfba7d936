"""One filter in one stream: its instance, its context, both its directions."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anywasm.abi.context import NO_DIRECTION, StreamContext
from anywasm.abi.enums import MapType, StreamType
from anywasm.abi.headers import HeaderMap
from anywasm.plugins.slot import Slot
from anywasm.server.filters.direction import REQUEST, RESPONSE, Sink
from anywasm.server.filters.half_stage import HalfStage
from anywasm.server.filters.places import ServingFilter

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain

_log: Final = logging.getLogger("anywasm.server.filters")

_NO_DEADLINE: Final = math.inf
_REQUEST_HEADERS: Final = int(MapType.HTTP_REQUEST_HEADERS)
_RESPONSE_HEADERS: Final = int(MapType.HTTP_RESPONSE_HEADERS)
_RESPONSE_TRAILERS: Final = int(MapType.HTTP_RESPONSE_TRAILERS)


class FilterStage:
    """A filter bound to a stream. Used on the event loop; its guest may live in a thread.

    Attributes:
        chain: The stream's chain.
        serving: The filter.
        guest: The instance.
        inline: Whether its guest is called on the event loop.
        context: The stream's context in it; made right before its first event.
        maps: The context's, which are kept here because reading them there takes longer.
        acted: Whether the guest asked for something in its last call.
        begun: Whether the context was made.
        ended: Whether the stream is over for the guest.
        request: Its part in the request's way, until the stream is over.
        response: Its part in the response's way, also only until then; None where it has none.
    """

    __slots__ = (
        "_calling",
        "_failed",
        "_id",
        "_slot",
        "acted",
        "begun",
        "chain",
        "context",
        "ended",
        "guest",
        "inline",
        "maps",
        "request",
        "response",
        "serving",
    )

    context: StreamContext
    maps: list[HeaderMap | None]
    _id: int

    def __init__(self, chain: FilterChain, serving: ServingFilter, slot: Slot) -> None:
        self.chain = chain
        self.serving = serving
        self.guest = slot.guest
        self.inline = serving.inline
        self._slot = slot
        self.request: HalfStage | None = None
        self.response: HalfStage | None = None
        self.acted = self.begun = self.ended = self._failed = self._calling = False

    def link_request(self, following: Sink) -> Sink:
        """Take a place in the request's way, before `following`."""
        half = self.request = HalfStage(self, REQUEST, following, self._slot.request)
        return half

    def link_response(self, following: Sink) -> Sink:
        """Take a place in the response's way, before `following`."""
        half = self.response = HalfStage(self, RESPONSE, following, self._slot.response)
        return half

    @property
    def takes(self) -> bool:
        """Whether the guest is shown what comes.

        A filter that never saw the request does not see the answer either, and one that has failed
        sees nothing more, as in Envoy.
        """
        return self.begun and not self.ended and self.guest.failed is None

    def breaks(self) -> bool:
        """Fail the stream where another stream's call broke the guest in its thread.

        What comes before the loop hears of that must not pass by the filter, unless it may.
        """
        failed = self.guest.failed
        if failed is None or not self.begun or self.ended or self._failed:
            return False
        if self.serving.plugin.config.failure_policy == "fail_open":
            return False
        self._fail(failed)
        return True

    @property
    def override_host(self) -> str | None:
        """The host of the cluster that the guest has chosen (Higress)."""
        return self.context.override_host if self.begun else None

    # --- calling the guest ---

    def begin(self) -> bool:
        """Make the stream's context; False where that ended the stream."""
        try:
            self._create()
        except Exception as error:
            self._fail(error)
            return False
        return True

    def begin_elsewhere(self, half: HalfStage, then: Callable[[], None]) -> None:
        """Make the stream's context in the guest's thread, then go on with `then`, on the loop."""
        self._elsewhere(half, self._create, lambda _: then())

    def _create(self) -> int:
        slot, chain = self._slot, self.chain
        # It has no deadline of its own: the route's timeout ends the stream.
        context: StreamContext = slot.create_stream(slot.root, _NO_DEADLINE, (), chain.info, self)
        self.context = context
        self._id = context.id
        self.maps = context.maps
        self.begun = True
        return 0

    def call(self, callback: Callable[..., Any], size: int, end_stream: int | None) -> int | None:
        """Call the guest; its answer, or None where the call ended the stream's way here.

        Args:
            callback: The guest's.
            size: The first argument behind the context's number.
            end_stream: The second, or None where there is none.
        """
        context = self.context
        self._calling = True
        try:
            action: int | None
            if end_stream is None:
                action = self._slot.call(context, callback, self._id, size)
            else:
                action = self._slot.call(context, callback, self._id, size, end_stream)
        except Exception as error:
            self._calling = False
            self._fail(error)
            return None
        self._calling = False
        acted = self.acted = context.acted
        if acted and not self._acted():
            return None
        return action or 0

    def call_elsewhere(
        self,
        half: HalfStage,
        callback: Callable[..., Any],
        size: int,
        end_stream: int | None,
        then: Callable[[int], None],
    ) -> None:
        """Call the guest in its thread; `then` gets its answer, on the loop."""
        context = self.context
        args = (size,) if end_stream is None else (size, end_stream)
        job = partial(self._slot.call, context, callback, self._id, *args)
        self._elsewhere(half, job, then)

    def _elsewhere(
        self, half: HalfStage, job: Callable[[], Any], then: Callable[[int], None]
    ) -> None:
        self._calling = True
        self.chain.timers.paused(half)  # it waits for its turn there, but not for ever

        def work() -> None:
            # Another stream's call may have broken the guest meanwhile.
            if self.guest.failed is not None:
                _hop(self.chain, partial(self._lost, half))
                return
            try:
                action = job()
            except Exception as error:
                _hop(self.chain, partial(self._fail, error))
            else:
                _hop(self.chain, partial(self._returned, half, then, action or 0))

        self._slot.home.post(work)

    def _returned(self, half: HalfStage, then: Callable[[int], None], action: int) -> None:
        self._calling = False
        self.chain.timers.resumed(half)
        if not self.ended and self._acted():
            then(action)
        self.chain.flush()

    # --- what the guest wants, or what became of it ---

    def notify(self) -> None:
        """As a `StreamDriver`: look at the stream, on the loop."""
        if self.inline:
            self.settle()
        else:
            _hop(self.chain, self.settle)

    def upstream_hosts(self) -> bytes:
        """As a `StreamDriver`: the hosts of the route's cluster."""
        return self.chain.upstream_hosts()

    def settle(self) -> None:
        """Do what the guest asked for this stream in a call that was about something else."""
        if self.ended:
            return
        if self.guest.failed is not None:
            if not self._calling:  # else the call itself tells
                for half in (self.request, self.response):
                    self._lost(half)
        elif self._acted():
            self.resume()
        self.chain.flush()

    def _lost(self, half: HalfStage | None) -> None:
        """The guest broke, but not for this stream: under `fail_open` that goes on without it."""
        self._calling = False
        if self.ended or half is None:
            return
        self.chain.timers.resumed(half)
        if self.serving.plugin.config.failure_policy != "fail_open":
            self._fail(self.guest.failed or RuntimeError("the guest has failed"))
        elif self.begun:
            half.release()
        self.chain.flush()

    def _fail(self, error: BaseException) -> None:
        self._calling = False
        if not self._failed and not self.ended:
            self._failed = True
            self.chain.failed(self, error)

    def resume(self) -> None:
        """Let the directions go on that the guest has continued."""
        if self.ended:
            return
        context = self.context
        for stream, half in (
            (StreamType.HTTP_REQUEST, self.request),
            (StreamType.HTTP_RESPONSE, self.response),
        ):
            # A busy one will find it when the guest has answered.
            if stream in context.continued and (half is None or not half.busy):
                context.continued -= {stream}
                if half is not None:
                    half.resume()

    def _acted(self) -> bool:
        """Apply what ends the stream's way here; False when it did."""
        if not self.begun:
            return True
        context = self.context
        if context.injected:
            injected, context.injected = context.injected, ()
            if self.response is not None and context.responding:
                for _, data, end_stream in injected:
                    self.response.inject(data, end_stream)
        if context.local_response is not None:
            reply, context.local_response = context.local_response, None
            self.chain.guest_replied(self, reply)
            return False
        if context.closed & {StreamType.HTTP_REQUEST, StreamType.HTTP_RESPONSE}:
            self.chain.guest_closed(self)
            return False
        if context.closed:
            context.closed = NO_DIRECTION
        if not context.continued:
            context.acted = False
        return True

    # --- the end ---

    def end(self) -> None:
        """End the context, with everything readable that `proxy_on_log` may ask for. Idempotent."""
        if self.ended:
            return
        self.ended = True
        self.request = self.response = None
        if self.inline:
            if self.begun:
                self._end_context()
            self.serving.pool.unbind(self._slot)
            return

        def work() -> None:
            if self.begun:
                self._end_context()
            _hop(self.chain, partial(self.serving.pool.unbind, self._slot))

        self._slot.home.post(work)

    def _end_context(self) -> None:
        chain, maps = self.chain, self.maps
        maps[_REQUEST_HEADERS] = chain.request
        maps[_RESPONSE_HEADERS] = chain.response
        maps[_RESPONSE_TRAILERS] = chain.response_trailers
        try:
            self._slot.end_stream(self.context)
        except Exception as error:
            _log.error("filter %s: failed after its stream had ended: %s", self.serving.name, error)


def _hop(chain: FilterChain, job: Callable[[], None]) -> None:
    """Do something on the loop."""
    loop: asyncio.AbstractEventLoop = chain.listener.loop
    loop.call_soon_threadsafe(job)
