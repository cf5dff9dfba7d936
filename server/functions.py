"""The function profile: requests routed to functions by their `id` header, as Layotto does.

Where Layotto answers every failure with an empty 200, a failure here has its own status and a JSON
body that names plugin and phase.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Collection
from concurrent.futures import Executor
from functools import partial

from anywasm.abi.pairs import Pair
from anywasm.plugins.errors import (
    FunctionBusyError,
    FunctionError,
    FunctionNotFoundError,
    PoolClosedError,
)
from anywasm.plugins.function import FunctionRequest, FunctionResponse, FunctionStream
from anywasm.plugins.functions import FunctionService
from anywasm.plugins.plugin import Plugin
from anywasm.server.function_line import Errand, FunctionLine
from anywasm.server.function_loop import FunctionCall, FunctionLoop
from anywasm.server.http import Headers, HttpExchange, InvalidResponseError
from anywasm.server.metrics import Metrics

_log = logging.getLogger("anywasm.server")

_JSON = (b"content-type", b"application/json")


class NoFunctionIdError(FunctionError):
    """The request does not say which function it is for."""

    status = 400


class FunctionRoute:
    """Answers whole requests with functions. Made and used on one event loop.

    A function that waits for nothing runs right here when it has a free instance, and so does one
    whose guests can be suspended while they wait; every other one in a thread that may wait, in
    line behind those for the same plugin.

    Args:
        service: Where the functions are.
        executor: Threads that may wait.
        metrics: Told about each answer.
        functions: Runs those whose guests can be suspended; the loop's only one, since it alone
            looks whether what it gives back is waited for.
        among: The plugin names that are served; None for all.
    """

    def __init__(
        self,
        service: FunctionService,
        executor: Executor,
        metrics: Metrics,
        functions: FunctionLoop,
        among: Collection[str] | None = None,
    ) -> None:
        self._service = service
        self._executor = executor
        self._metrics = metrics
        self._among = None if among is None else frozenset(among)
        self._loop = asyncio.get_running_loop()
        self._functions = functions
        self._lines: dict[str, FunctionLine] = {}
        self._done: deque[tuple[Errand, FunctionResponse | Exception]] = deque()
        self._woken = False

    def __call__(
        self, exchange: HttpExchange, headers: Headers, body: bytes, trailers: Headers
    ) -> None:
        """Answer one request, now or later on the loop."""
        began = time.perf_counter()
        name = ""
        try:
            name = _function_id(headers)
            request = _request(exchange, headers, body, trailers)
            self._begin(Errand(exchange, name, request, began, time.monotonic()))
        except Exception as error:
            self._fail(exchange, name, began, error)

    def _begin(self, errand: Errand) -> None:
        """Answer at once, or have a thread do it."""
        service = self._service
        while True:
            plugin = service.router.pick(errand.id, self._among)
            if plugin.suspends:
                self._start(errand)
                return
            if not plugin.inline:
                break
            try:
                result = service.try_inline(plugin, errand.id, errand.request)
            except PoolClosedError:
                continue
            if result is None:
                break
            if isinstance(result, FunctionResponse):
                self._respond(errand.exchange, errand.id, errand.began, result)
            else:
                self._executor.submit(self._wait, errand, result)
            return
        self._queue(plugin, errand)

    def _start(self, errand: Errand) -> None:
        """Have the loop call the function."""
        exchange = errand.exchange
        self._functions.start(
            FunctionCall(
                errand.id,
                errand.request,
                (errand.id,),
                partial(self._answer, errand),
                among=self._among,
                wanted=lambda: not exchange.ended,
                since=errand.since,
            )
        )

    def _answer(self, errand: Errand, result: FunctionResponse | Exception) -> None:
        if isinstance(result, FunctionResponse):
            self._respond(errand.exchange, errand.id, errand.began, result)
        else:
            self._fail(errand.exchange, errand.id, errand.began, result)

    def _queue(self, plugin: Plugin, errand: Errand) -> None:
        line = self._lines.get(plugin.name)
        if line is None or line.version != plugin.version:
            new = FunctionLine(plugin.version, self._executor, self._call, self._wait)
            self._lines[plugin.name] = new
            # Who waits for the version before gets this one.
            for waiting in () if line is None else line.clear():
                new.add(waiting, plugin.functions.size)
            line = new
        line.add(errand, plugin.functions.size)
        line.watch(plugin.config.timeouts.lease, self._late)

    def _late(self, line: FunctionLine, errand: Errand) -> None:
        """Nobody has begun it in time."""
        try:
            plugin = self._service.router.pick(errand.id, self._among)
            if plugin.version != line.version:
                errand.since = time.monotonic()
                self._queue(plugin, errand)
                return
            raise FunctionBusyError(
                f"neither an instance of plugin {plugin.name!r} nor a thread became free in time; "
                f"raise instance_num (now {plugin.functions.size})",
                plugin.name,
                "lease",
            )
        except FunctionError as error:
            self._fail(errand.exchange, errand.id, errand.began, error)

    def _call(self, errand: Errand) -> FunctionStream | None:
        """Call the function, in a thread; a stream when the guest has paused."""
        if errand.exchange.ended:
            return None  # the client went away
        try:
            result = self._service.begin(errand.id, errand.request, self._among, errand.since)
        except Exception as error:
            self._tell(errand, error)
        else:
            if isinstance(result, FunctionStream):
                return result
            self._tell(errand, result)
        return None

    def _wait(self, errand: Errand, stream: FunctionStream) -> None:
        """Wait for the answer of a guest that has paused, in a thread."""
        try:
            self._tell(errand, self._service.finish(stream))
        except Exception as error:
            self._tell(errand, error)

    def _tell(self, errand: Errand, result: FunctionResponse | Exception) -> None:
        """Have the loop answer. It is woken once for all that it has not yet seen."""
        self._done.append((errand, result))
        if not self._woken:
            self._woken = True
            # The loop is closed when the server stopped without this answer: its client was cut.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        self._woken = False  # first: what comes from now on may be missed below
        try:
            while self._done:
                self._answer(*self._done.popleft())
        finally:
            if self._done:
                self._loop.call_soon(self._finish)

    def _respond(
        self, exchange: HttpExchange, id: str, began: float, response: FunctionResponse
    ) -> None:
        # The whole body is here, so a length that the guest claims can only be right or wrong.
        headers = [pair for pair in response.headers if pair[0] != b"content-length"]
        try:
            exchange.respond(response.status, headers, response.body)
        except InvalidResponseError as error:
            failure = FunctionError(f"the function's answer cannot be sent: {error}", phase="send")
            self._refuse(exchange, id, began, failure)
            return
        self._metrics.count(id, response.status, time.perf_counter() - began)

    def _fail(self, exchange: HttpExchange, id: str, began: float, error: Exception) -> None:
        if not isinstance(error, FunctionError):
            _log.error("function %s: the host failed", id, exc_info=error)
            # Only the kind: what the host says of itself is for the log.
            error = FunctionError(f"the host failed: {type(error).__name__}", phase="host")
        self._refuse(exchange, id, began, error)

    def _refuse(self, exchange: HttpExchange, id: str, began: float, error: FunctionError) -> None:
        known = not isinstance(error, (NoFunctionIdError, FunctionNotFoundError))
        if known:
            _log.warning("function %s: %d: %s", id, error.status, error)
        plugin = error.plugin or self._only_plugin(id)
        detail = {"error": str(error), "plugin": plugin, "phase": error.phase}
        body = json.dumps({key: value for key, value in detail.items() if value is not None})
        exchange.respond(error.status, (_JSON,), body.encode())
        # Ids that nobody has must not make metrics grow.
        self._metrics.count(id if known else "", error.status, time.perf_counter() - began)

    def _only_plugin(self, id: str) -> str | None:
        """Whose function it must have been, where an error does not say."""
        plugins = self._service.router.plugins(id)
        return plugins[0].name if len(plugins) == 1 else None


def _function_id(headers: Headers) -> str:
    for name, value in headers:
        if name == b"id":
            # As the guest's own id; what is no UTF-8 is nobody's.
            return value.decode("utf-8", "backslashreplace")
    raise NoFunctionIdError(
        "the request has no id header; name the function, for example 'id: id_1'", phase="route"
    )


def _request(
    exchange: HttpExchange, headers: Headers, body: bytes, trailers: Headers
) -> FunctionRequest:
    target = exchange.target
    pairs: list[Pair] = [
        (b":authority", b""),
        (b":path", target),
        (b":method", exchange.method),
        (b":scheme", b"https" if exchange.is_tls else b"http"),
    ]
    for pair in headers:
        if pair[0] == b"host":
            pairs[0] = (b":authority", pair[1])
        else:
            pairs.append(pair)
    if not body:
        # Layotto: without a body the query string takes its place.
        body = target.partition(b"?")[2]
    return FunctionRequest(tuple(pairs), body, tuple(trailers))
