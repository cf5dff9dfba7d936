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
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future

from anywasm.abi.pairs import Pair
from anywasm.plugins.errors import (
    FunctionBusyError,
    FunctionError,
    FunctionNotFoundError,
    PoolClosedError,
)
from anywasm.plugins.function import FunctionRequest, FunctionResponse
from anywasm.plugins.functions import FunctionService
from anywasm.plugins.plugin import Plugin
from anywasm.server.http import Headers, HttpExchange, InvalidResponseError
from anywasm.server.metrics import Metrics

_log = logging.getLogger("anywasm.server")

_JSON = (b"content-type", b"application/json")

#: What is left for a thread; it answers nothing where nobody waits for an answer any more.
Work = Callable[[], FunctionResponse | None]


class NoFunctionIdError(FunctionError):
    """The request does not say which function it is for."""

    status = 400


class FunctionRoute:
    """Answers whole requests with functions. Made and used on one event loop.

    A function that waits for nothing runs right here when it has a free instance; every other one
    in a thread that may wait.

    Args:
        service: Where the functions are.
        executor: Threads that may wait.
        metrics: Told about each answer.
        among: The plugin names that are served; None for all.
    """

    def __init__(
        self,
        service: FunctionService,
        executor: Executor,
        metrics: Metrics,
        among: Collection[str] | None = None,
    ) -> None:
        self._service = service
        self._executor = executor
        self._metrics = metrics
        self._among = None if among is None else frozenset(among)
        self._loop = asyncio.get_running_loop()

    def __call__(
        self, exchange: HttpExchange, headers: Headers, body: bytes, trailers: Headers
    ) -> None:
        """Answer one request, now or later on the loop."""
        began = time.perf_counter()
        name = ""
        try:
            name = _function_id(headers)
            work = self._begin(exchange, name, _request(exchange, headers, body, trailers))
        except Exception as error:
            self._fail(exchange, name, began, error)
            return
        if isinstance(work, FunctionResponse):
            self._respond(exchange, name, began, work)
            return

        def tell(done: Future[FunctionResponse | None]) -> None:
            # The loop is closed when the server stopped without this answer: its client was cut.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._finish, exchange, name, began, done)

        self._executor.submit(work).add_done_callback(tell)

    def _begin(
        self, exchange: HttpExchange, id: str, request: FunctionRequest
    ) -> FunctionResponse | Work:
        """The answer, or what remains to be done in a thread."""
        service, among = self._service, self._among
        while True:
            plugin = service.router.pick(id, among)
            if not plugin.inline:
                break
            try:
                result = service.try_inline(plugin, id, request)
            except PoolClosedError:
                continue
            if result is None:
                break
            if isinstance(result, FunctionResponse):
                return result
            return lambda: service.finish(result)
        until = time.monotonic() + plugin.config.timeouts.lease
        return lambda: self._serve(exchange, plugin, until, id, request)

    def _serve(
        self,
        exchange: HttpExchange,
        plugin: Plugin,
        until: float,
        id: str,
        request: FunctionRequest,
    ) -> FunctionResponse | None:
        """Call the function, in a thread, unless it took too long to get one."""
        if exchange.ended:
            return None  # the client went away
        if time.monotonic() > until:
            raise FunctionBusyError(
                "no thread became free in time: too many functions wait", plugin.name, "lease"
            )
        return self._service.serve(id, request, self._among)

    def _finish(
        self, exchange: HttpExchange, id: str, began: float, done: Future[FunctionResponse | None]
    ) -> None:
        if done.cancelled():
            return  # the server stops, and the client was cut
        try:
            response = done.result()
        except Exception as error:
            self._fail(exchange, id, began, error)
        else:
            if response is not None:
                self._respond(exchange, id, began, response)

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
