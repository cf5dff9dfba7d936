"""Serves function calls: picks the plugin, leases an instance, waits where the guest waits."""

from __future__ import annotations

import math
import time
from collections.abc import Collection

from anywasm.abi.host import ServiceCall
from anywasm.abi.waits import Wait
from anywasm.plugins.errors import (
    FunctionBusyError,
    FunctionFailedError,
    FunctionRecursionError,
    FunctionTimeoutError,
    PoolClosedError,
)
from anywasm.plugins.function import FunctionRequest, FunctionResponse, FunctionStream
from anywasm.plugins.plugin import Plugin
from anywasm.plugins.router import FunctionRouter

#: How many functions may wait for each other in one chain.
MAX_CHAIN = 16


def call_chain(call: ServiceCall) -> tuple[str, ...]:
    """The ids of those that wait in a function's call for another, that one last.

    Raises:
        FunctionRecursionError: When it is waiting in the chain already, or the chain is too long.
    """
    chain = (*call.chain, call.id)
    if call.id in call.chain or len(chain) > MAX_CHAIN:
        raise FunctionRecursionError(
            f"function calls go round in circles, or too deep: {' -> '.join(chain)}"
        )
    return chain


def call_request(call: ServiceCall) -> FunctionRequest:
    """What a function gets that another one calls."""
    return FunctionRequest(
        (
            (b":authority", b"localhost"),
            (b":path", call.method.encode() or b"/"),
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b"id", call.id.encode()),
        ),
        call.param,
    )


def good_body(id: str, response: FunctionResponse) -> bytes:
    """What a function answered another one.

    Raises:
        FunctionFailedError: When it did not answer with success.
    """
    if not 200 <= response.status < 300:
        raise FunctionFailedError(f"function {id!r} answered {response.status}")
    return response.body


class FunctionService:
    """The functions that a router knows. Thread-safe.

    Args:
        router: Where to look for them.
    """

    def __init__(self, router: FunctionRouter) -> None:
        self.router = router

    def serve(
        self, id: str, request: FunctionRequest, among: Collection[str] | None = None
    ) -> FunctionResponse:
        """Call a function and wait for its answer, in this thread; otherwise as `begin`."""
        result = self.begin(id, request, among)
        return self.finish(result) if isinstance(result, FunctionStream) else result

    def begin(
        self,
        id: str,
        request: FunctionRequest,
        among: Collection[str] | None = None,
        since: float | None = None,
    ) -> FunctionResponse | FunctionStream:
        """Call a function, in this thread, waiting for an instance where none is free.

        Args:
            id: The function's id.
            request: What it gets.
            among: The plugin names to choose from; all by default.
            since: The `time.monotonic` second from which its timeouts count; now by default.

        Returns:
            What it answered, be it an error status of its own; or its stream when the guest has
            paused, to be given to `finish`.

        Raises:
            FunctionError: When it did not answer; the subclass says why.
        """
        since = time.monotonic() if since is None else since
        return self._pick_and_begin(id, request, (id,), among, since, math.inf)

    def run(
        self,
        id: str,
        request: FunctionRequest,
        chain: tuple[str, ...],
        among: Collection[str] | None,
        since: float,
        end: float,
    ) -> FunctionResponse:
        """Call a function on behalf of others, if any, and wait for its answer, in this thread.

        Args:
            id: The function's id.
            request: What it gets.
            chain: The ids of the functions that wait, this one last.
            among: The plugin names to choose from; None for all.
            since: The `time.monotonic` second from which its timeouts count.
            end: The one by which the answer is needed.

        Raises:
            FunctionError: As `begin`.
        """
        result = self._pick_and_begin(id, request, chain, among, since, end)
        return self.finish(result) if isinstance(result, FunctionStream) else result

    def _pick_and_begin(
        self,
        id: str,
        request: FunctionRequest,
        chain: tuple[str, ...],
        among: Collection[str] | None,
        since: float,
        end: float,
    ) -> FunctionResponse | FunctionStream:
        while True:
            plugin = self.router.pick(id, among)
            deadline = min(end, since + plugin.config.timeouts.request)
            until = min(deadline, since + plugin.config.timeouts.lease)
            try:
                return self._begin(plugin, request, deadline, until, chain)
            except PoolClosedError:
                since = time.monotonic()  # it was replaced just now

    def invoke(self, call: ServiceCall) -> bytes:
        """Call a function for another one (`proxy_invoke_service`).

        Returns:
            The body of its answer.

        Raises:
            FunctionError: When it did not answer, or not with success; when it is waiting in the
                chain already, or the chain is too long.
        """
        chain, now = call_chain(call), time.monotonic()
        return good_body(
            call.id, self.run(call.id, call_request(call), chain, None, now, call.deadline)
        )

    def try_inline(
        self, plugin: Plugin, id: str, request: FunctionRequest
    ) -> FunctionResponse | FunctionStream | None:
        """Call a function that waits for nothing, in this thread, if an instance is free now.

        Returns:
            Its answer; or its stream when the guest has paused, to be given to `finish` in a thread
            that may wait; or None when no instance is free.

        Raises:
            FunctionError: When it did not answer.
            PoolClosedError: When the plugin was replaced; pick again.
        """
        slot = plugin.functions.try_acquire()
        if slot is None:
            return None
        deadline = time.monotonic() + plugin.config.timeouts.request
        stream = FunctionStream(plugin, slot, request, deadline, (id,))
        response = None
        done = True
        try:
            response = _sure(stream.advance())
            done = response is not None
        finally:
            plugin.functions.release(slot, done=done)
        return stream if response is None else response

    def _begin(
        self,
        plugin: Plugin,
        request: FunctionRequest,
        deadline: float,
        until: float,
        chain: tuple[str, ...],
    ) -> FunctionResponse | FunctionStream:
        pool = plugin.functions
        slot = pool.acquire(until)
        stream = FunctionStream(plugin, slot, request, deadline, chain)
        done = True
        try:
            response = _sure(slot.home.run(stream.advance))
            done = response is not None
        finally:
            pool.release(slot, done=done)
        return stream if response is None else response

    def finish(self, stream: FunctionStream) -> FunctionResponse:
        """Wait for the answer of a stream whose guest has paused.

        Raises:
            FunctionError: When it did not answer; `FunctionTimeoutError` when nobody resumed it.
        """
        pool, slot = stream.plugin.functions, stream.slot
        stream.suspends = False  # from now on this thread waits where the guest does
        while True:
            awake = stream.resumed.wait(max(0.0, stream.deadline - time.monotonic()))
            stream.resumed.clear()
            try:
                pool.reacquire(slot, stream.deadline)
            except FunctionBusyError as error:
                # Who waits for the answer waits no longer; the guest hears of it when it is free.
                pool.post(slot, stream.end)
                raise FunctionTimeoutError(str(error), stream.plugin.name, stream.phase) from error
            done = True
            try:
                if not awake:
                    raise slot.home.run(stream.abandon)
                response = _sure(slot.home.run(stream.advance))
                done = response is not None
            finally:
                pool.release(slot, done=done)
            if response is not None:
                return response


def _sure(result: FunctionResponse | Wait | None) -> FunctionResponse | None:
    """The response, or None: a guest that is called by a thread is not suspended."""
    assert result is None or isinstance(result, FunctionResponse)
    return result
