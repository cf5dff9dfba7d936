"""One filter in one stream: its instance, its context, both its directions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from anywasm.abi.context import StreamContext
from anywasm.abi.enums import MapType, StreamType
from anywasm.core.errors import AnyWasmError
from anywasm.plugins.plugin import Plugin
from anywasm.plugins.pool import Slot
from anywasm.server.filters.direction import REQUEST, RESPONSE, Direction, Sink
from anywasm.server.filters.half_stage import HalfStage

if TYPE_CHECKING:
    from anywasm.server.filters.chain import FilterChain

_log = logging.getLogger("anywasm.server.filters")


class FilterStage:
    """A filter bound to a stream. Used on the event loop; its guest may live in a thread.

    Attributes:
        chain: The stream's chain.
        plugin: The filter.
        guest: The instance.
        context: The stream's context in it; made right before its first event.
        request: Its part in the request's way.
        response: Its part in the response's way.
        stops_iteration: Whether a pause on headers still lets the body come.
        changes_request: Whether the guest may change the request's body.
        changes_response: Whether the guest may change the response's body.
    """

    context: StreamContext

    def __init__(self, chain: FilterChain, plugin: Plugin, slot: Slot) -> None:
        self.chain = chain
        self.plugin = plugin
        self.guest = slot.guest
        self.stops_iteration = plugin.stops_iteration
        self._slot = slot
        self._inline = plugin.inline
        self._begun = False
        self._ended = False
        self.changes_request = (
            plugin.changes_bodies and slot.guest.callbacks.on_request_body is not None
        )
        self.changes_response = (
            plugin.changes_bodies and slot.guest.callbacks.on_response_body is not None
        )
        self.request: HalfStage
        self.response: HalfStage

    def link(self, request: Sink, response: Sink) -> None:
        """Say what comes next in each direction."""
        self.request = HalfStage(self, REQUEST, request)
        self.response = HalfStage(self, RESPONSE, response)

    def takes(self, direction: Direction) -> bool:
        """Whether the guest is shown what comes; makes its context at the first request event.

        A filter that never saw the request does not see the answer either, and one that has failed
        sees nothing more, as in Envoy.
        """
        if self._ended or self.guest.failed is not None:
            return False
        if self._begun:
            return True
        if direction is RESPONSE:
            return False
        self._begun = True
        return self._begin()

    def _begin(self) -> bool:
        try:
            # A stream's first call makes its context; in a thread the loop waits for that one.
            self.context = self._slot.home.run(
                lambda: self.guest.create_stream(self._slot.root, self.chain.deadline)
            )
        except AnyWasmError as error:
            self._begun = False
            self.chain.failed(self, error)
            return False
        self.context.info = self.chain.info
        self.context.upstream_hosts = self.chain.upstream_hosts
        if self._inline:
            self.context.notify = self.settle
        else:
            loop = asyncio.get_running_loop()
            self.context.notify = lambda: _hop(loop, self.settle)
        return True

    def call(
        self, callback: Callable[..., Any], args: tuple[int, ...], then: Callable[[int], None]
    ) -> None:
        """Call the guest; `then` gets its answer, unless the call ended the stream's way here."""
        if self._inline:
            try:
                action = self.guest.call(self.context, callback, self.context.id, *args)
            except Exception as error:
                self.chain.failed(self, error)
                return
            if self._acted():
                then(action or 0)
            return
        loop = asyncio.get_running_loop()

        def work() -> None:
            try:
                action = self.guest.call(self.context, callback, self.context.id, *args)
            except Exception as error:
                loop.call_soon_threadsafe(self.chain.failed, self, error)
            else:
                loop.call_soon_threadsafe(self._returned, then, action or 0)

        self._slot.home.post(work)

    def _returned(self, then: Callable[[int], None], action: int) -> None:
        if not self._ended and self._acted():
            then(action)
        self.chain.flush()

    def settle(self) -> None:
        """Do what the guest asked for this stream in a call that was about something else."""
        if self._ended:
            return
        if self.guest.failed is not None:
            self.chain.failed(self, self.guest.failed)
        elif self._acted():
            for stream, half in (
                (StreamType.HTTP_REQUEST, self.request),
                (StreamType.HTTP_RESPONSE, self.response),
            ):
                if stream in self.context.continued:
                    self.context.continued.discard(stream)
                    half.resume()
        self.chain.flush()

    def _acted(self) -> bool:
        """Apply what ends the stream's way here; False when it did."""
        context = self.context
        if context.injected:
            injected, context.injected = context.injected, []
            for stream, data, end_stream in injected:
                half = self.request if stream is StreamType.HTTP_REQUEST else self.response
                half.inject(data, end_stream)
        if context.local_response is not None:
            reply, context.local_response = context.local_response, None
            self.chain.guest_replied(self, reply)
            return False
        if context.closed & {StreamType.HTTP_REQUEST, StreamType.HTTP_RESPONSE}:
            self.chain.guest_closed(self)
            return False
        context.closed.clear()
        return True

    def end(self) -> None:
        """End the context, with everything readable that `proxy_on_log` may ask for. Idempotent."""
        if self._ended:
            return
        self._ended = True
        slot = self._slot
        if not self._begun:
            self.plugin.filters.unbind(slot)
            return
        context, chain = self.context, self.chain
        context.maps[MapType.HTTP_REQUEST_HEADERS] = chain.request
        context.maps[MapType.HTTP_RESPONSE_HEADERS] = chain.response
        context.maps[MapType.HTTP_RESPONSE_TRAILERS] = chain.response_trailers
        if self._inline:
            self._end_context()
            self.plugin.filters.unbind(slot)
            return
        loop = asyncio.get_running_loop()

        def work() -> None:
            self._end_context()
            loop.call_soon_threadsafe(partial(self.plugin.filters.unbind, slot))

        slot.home.post(work)

    def _end_context(self) -> None:
        try:
            self.guest.end(self.context)
        except AnyWasmError as error:
            _log.error("filter %s: failed after its stream had ended: %s", self.plugin.name, error)


def _hop(loop: asyncio.AbstractEventLoop, job: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(job)
