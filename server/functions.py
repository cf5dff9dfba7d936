"""The function profile: requests routed to functions by their `id` header, as Layotto does.

Where Layotto answers every failure with an empty 200, a failure here has its own status and a JSON
body that names plugin and phase.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Executor, Future

from anywasm.abi.pairs import Pair
from anywasm.plugins.errors import FunctionError, FunctionNotFoundError, PoolClosedError
from anywasm.plugins.function import FunctionRequest, FunctionResponse
from anywasm.plugins.functions import FunctionService
from anywasm.server.http import Headers, HttpExchange, InvalidResponseError
from anywasm.server.metrics import Metrics

_log = logging.getLogger("anywasm.server")

_JSON = (b"content-type", b"application/json")

Work = Callable[[], FunctionResponse]


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
            work = self._begin(name, _request(exchange, headers, body, trailers))
        except FunctionError as error:
            self._refuse(exchange, name, began, error)
            return
        if isinstance(work, FunctionResponse):
            self._respond(exchange, name, began, work)
            return
        self._executor.submit(work).add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._finish, exchange, name, began, done)
        )

    def _begin(self, id: str, request: FunctionRequest) -> FunctionResponse | Work:
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
        return lambda: service.serve(id, request, among)

    def _finish(
        self, exchange: HttpExchange, id: str, began: float, done: Future[FunctionResponse]
    ) -> None:
        try:
            response = done.result()
        except FunctionError as error:
            self._refuse(exchange, id, began, error)
        except Exception as error:
            _log.exception("function %s: the host failed", id)
            failure = FunctionError(f"the host failed: {type(error).__name__}", phase="host")
            self._refuse(exchange, id, began, failure)
        else:
            self._respond(exchange, id, began, response)

    def _respond(
        self, exchange: HttpExchange, id: str, began: float, response: FunctionResponse
    ) -> None:
        try:
            exchange.respond(response.status, response.headers, response.body)
        except InvalidResponseError as error:
            failure = FunctionError(f"the function's answer cannot be sent: {error}", phase="send")
            self._refuse(exchange, id, began, failure)
            return
        self._metrics.count(id, response.status, time.perf_counter() - began)

    def _refuse(self, exchange: HttpExchange, id: str, began: float, error: FunctionError) -> None:
        known = not isinstance(error, (NoFunctionIdError, FunctionNotFoundError))
        if known:
            _log.warning("function %s: %d: %s", id, error.status, error)
        detail = {"error": str(error), "plugin": error.plugin, "phase": error.phase}
        body = json.dumps({key: value for key, value in detail.items() if value is not None})
        exchange.respond(error.status, (_JSON,), body.encode())
        # Ids that nobody has must not make metrics grow.
        self._metrics.count(id if known else "", error.status, time.perf_counter() - began)


def _function_id(headers: Headers) -> str:
    for name, value in headers:
        if name == b"id":
            return value.decode("latin-1")
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
