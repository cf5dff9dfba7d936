"""One call of a function: a request through a guest's stream callbacks, and its answer.

As in Layotto, a function answers by writing the response body while it handles the request. Unlike
there, its actions are honoured, response callbacks and `proxy_on_log` are called, and a function
that fails, or says nothing, is an error and never an empty success.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from anywasm.abi import suspendable
from anywasm.abi.buffer import Buffer
from anywasm.abi.context import StreamContext
from anywasm.abi.enums import Action, BufferType, MapType, StreamType
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.abi.waits import Answer, Wait
from anywasm.core.errors import AnyWasmError, DeadlineExceededError
from anywasm.plugins.errors import FunctionError, FunctionFailedError, FunctionTimeoutError
from anywasm.plugins.plugin import Plugin
from anywasm.plugins.slot import Slot

_log = logging.getLogger("anywasm.plugins")

#: Actions that let the stream go on. For headers C++ guests have ContinueAndEndStream (2), which
#: Envoy was recorded to take for Continue.
_GOES_ON = frozenset({Action.CONTINUE})
_HEADERS_GO_ON = frozenset({Action.CONTINUE, 2})

_TEXT = (b"content-type", b"text/plain; charset=utf-8")


@dataclass(frozen=True, slots=True)
class FunctionRequest:
    """A request as a guest sees it.

    Attributes:
        headers: Pseudo headers first (`:method`, `:path`, `:authority`, `:scheme`), names in lower
            case.
        body: The whole body.
        trailers: The trailers.
    """

    headers: tuple[Pair, ...]
    body: bytes = b""
    trailers: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class FunctionResponse:
    """A good or bad answer that the function itself gave.

    Attributes:
        status: The HTTP status.
        headers: Without pseudo headers.
        body: The whole body.
    """

    status: int
    headers: tuple[Pair, ...]
    body: bytes


#: Yields None while the guest has paused, and what it waits for while it is suspended.
Steps = Generator[Any, Any, FunctionResponse]


class FunctionStream:
    """One request in one instance.

    Its owner leases the instance, calls `advance`, and gives the lease back: for good when there is
    a response or an error, or for a while when the guest has paused. While the guest is suspended
    it keeps the lease.

    Attributes:
        suspends: Whether the guest is called so that it can be suspended; otherwise the thread
            waits where the guest does.

    Args:
        plugin: The plugin.
        slot: The leased instance.
        request: The request.
        deadline: The `time.monotonic` second by which there must be an answer.
        chain: The ids of the functions that wait, this one last.
        suspends: See the attribute.
    """

    def __init__(
        self,
        plugin: Plugin,
        slot: Slot,
        request: FunctionRequest,
        deadline: float,
        chain: tuple[str, ...],
        suspends: bool = False,
    ) -> None:
        self.suspends = suspends
        self.plugin = plugin
        self.slot = slot
        self.deadline = deadline
        self.phase = "context_create"
        self._guest = slot.guest
        self._request = request
        self._chain = chain
        # Made when first asked for: most streams never pause.
        self._resumed: threading.Event | None = None
        self._woken = False
        self._context: StreamContext | None = None
        # It never ends the stream itself: it may be finalized by any thread, without the lease.
        self._steps = self._run()

    def advance(self, answer: Answer | None = None) -> FunctionResponse | Wait | None:
        """Go on until there is an answer or the guest pauses. The instance must be leased.

        Args:
            answer: What came of that for which the guest is suspended.

        Returns:
            The response, None while paused, or what the guest waits for while it is suspended.

        Raises:
            FunctionFailedError: When the guest traps, refuses or says nothing.
            FunctionTimeoutError: When time is up.
        """
        paused = False
        try:
            waits_for: Wait | None = self._steps.send(answer)
            paused = True
        except StopIteration as end:
            response: FunctionResponse = end.value
            return response
        except FunctionError:
            raise
        except DeadlineExceededError as error:
            raise FunctionTimeoutError(str(error), self.plugin.name, self.phase) from error
        except AnyWasmError as error:
            raise FunctionFailedError(str(error), self.plugin.name, self.phase) from error
        finally:
            if not paused:
                self.end()
                self._let_go()
        return waits_for

    def abandon(self) -> FunctionTimeoutError:
        """End a paused stream whose time is up. The instance must be leased.

        Returns:
            The error for the client.
        """
        self.end()
        self._let_go()
        return FunctionTimeoutError(
            "the function paused and nobody resumed it", self.plugin.name, self.phase
        )

    def _run(self) -> Steps:
        root, deadline, chain = self.slot.root, self.deadline, self._chain
        callbacks = self._guest.callbacks
        if self.suspends and callbacks.on_context_create is not None:
            stream = yield from suspendable.create_stream(self._guest, root, deadline, chain)
        else:
            stream = self._guest.create_stream(root, deadline, chain)
        stream.driver = self
        self._context = stream
        try:
            yield from self._on_request(stream)
            response = yield from self._on_response(stream)
        except AnyWasmError:
            if self._ends_slowly:
                yield from self._end(stream)
            raise
        if self._ends_slowly:
            yield from self._end(stream)
        return response

    @property
    def _ends_slowly(self) -> bool:
        """Whether the guest may be suspended in the callbacks that end the stream."""
        callbacks = self._guest.callbacks
        return self.suspends and not (
            callbacks.on_done is callbacks.on_log is callbacks.on_delete is None
        )

    def _end(self, stream: StreamContext) -> Generator[Any, Any, None]:
        """As `end`, in which the guest may be suspended."""
        try:
            yield from suspendable.end(self._guest, stream)
        except AnyWasmError as error:
            self._failed_late(error)

    @property
    def resumed(self) -> threading.Event:
        """Set when it is worth leasing the instance again."""
        if self._resumed is None:
            self._resumed = threading.Event()
            # `notify` notes first and looks then, so that one of the two sees the other.
            if self._woken:
                self._resumed.set()
        return self._resumed

    def notify(self) -> None:
        """As a `StreamDriver`: the guest has asked for something, or may go on."""
        self._woken = True
        if self._resumed is not None:
            self._resumed.set()

    def upstream_hosts(self) -> None:
        """As a `StreamDriver`: a function has no upstream."""

    def _let_go(self) -> None:
        """Forget the context, which knows this stream: nothing is left to the garbage collector."""
        context, self._context = self._context, None
        if context is not None:
            context.driver = None

    def end(self) -> None:
        """Have the guest let go of it. Idempotent; the instance must be leased."""
        if self._context is None:
            return
        try:
            self._guest.end(self._context)
        except AnyWasmError as error:
            self._failed_late(error)

    def _failed_late(self, error: AnyWasmError) -> None:
        # The answer stands; the guest is broken and will be replaced.
        _log.error("plugin %s: the guest failed after it answered: %s", self.plugin.name, error)

    def _on_request(self, stream: StreamContext) -> Generator[Any, Any, None]:
        request = self._request
        headers = stream.maps[MapType.HTTP_REQUEST_HEADERS] = HeaderMap(request.headers)
        # A function writes its answer while it reads the request.
        stream.maps[MapType.HTTP_RESPONSE_HEADERS] = HeaderMap([(b":status", b"200")])
        stream.buffers[BufferType.HTTP_RESPONSE_BODY] = Buffer()
        body, trailers = request.body, request.trailers
        ends = not body and not trailers
        yield from self._call(
            stream, "on_request_headers", StreamType.HTTP_REQUEST, len(headers), int(ends)
        )
        if body and stream.local_response is None:
            stream.buffers[BufferType.HTTP_REQUEST_BODY] = Buffer(body)
            # With trailers to come the end of the stream is theirs to tell, and a pause here only
            # keeps the body until then, as in Envoy.
            yield from self._call(
                stream,
                "on_request_body",
                StreamType.HTTP_REQUEST,
                len(body),
                int(not trailers),
                may_pause=not trailers,
            )
        if trailers and stream.local_response is None:
            stream.maps[MapType.HTTP_REQUEST_TRAILERS] = HeaderMap(trailers)
            yield from self._call(
                stream, "on_request_trailers", StreamType.HTTP_REQUEST, len(trailers)
            )

    def _on_response(self, stream: StreamContext) -> Steps:
        stream.responding = True
        answer = self._answer(stream)
        headers = stream.maps[MapType.HTTP_RESPONSE_HEADERS]
        assert headers is not None
        local = stream.local_response
        ends = not answer.data
        yield from self._call(
            stream, "on_response_headers", StreamType.HTTP_RESPONSE, len(headers), int(ends)
        )
        if not ends and stream.local_response is local:
            yield from self._call(
                stream, "on_response_body", StreamType.HTTP_RESPONSE, len(answer.data), 1
            )
        if stream.local_response is not local:
            # Nothing has gone to the client yet, so that the answer can still be another. The
            # callbacks do not see that one, as in Envoy.
            stream.responding = True
        answer = self._answer(stream)
        return self._finish(headers, answer)

    def _answer(self, stream: StreamContext) -> Buffer:
        """The response body that the guest gave, with the headers in place."""
        answer = stream.buffers[BufferType.HTTP_RESPONSE_BODY]
        headers = stream.maps[MapType.HTTP_RESPONSE_HEADERS]
        assert answer is not None
        assert headers is not None
        local = stream.local_response
        if local is not None:
            headers.set_pairs([(b":status", str(local.status).encode()), *local.headers])
            answer.data = local.body
        elif not answer.touched:
            raise self._failure("the function gave no answer")
        if answer.data and headers.get(b"content-type") is None:
            headers.add(*_TEXT)
        return answer

    def _finish(self, headers: HeaderMap, answer: Buffer) -> FunctionResponse:
        status = headers.get(b":status") or b""
        if not (len(status) == 3 and status.isdigit() and status >= b"200"):
            raise self._failure(f"the function gave the status {status!r}")
        pairs = tuple(pair for pair in headers.pairs if pair[0][:1] != b":")
        code = int(status)
        if code == 200 and not answer.data:
            code = 204  # the function said on purpose that there is nothing
        return FunctionResponse(code, pairs, answer.data)

    def _call(
        self,
        stream: StreamContext,
        name: str,
        direction: StreamType,
        *args: int,
        may_pause: bool = True,
    ) -> Generator[Any, Any, None]:
        """One callback, if it is exported; then pauses until the guest lets the stream go on."""
        callback = getattr(self._guest.callbacks, name)
        if callback is None:
            return
        self.phase = name
        goes_on = _HEADERS_GO_ON if name.endswith("_headers") else _GOES_ON
        local = stream.local_response
        if direction in stream.continued:
            stream.continued -= {direction}
        if self.suspends:
            action = yield from suspendable.call(self._guest, stream, name, stream.id, *args)
        else:
            action = self._guest.call(stream, callback, stream.id, *args)
        while True:
            if stream.closed:
                raise self._failure("the function closed its stream")
            if stream.local_response is not local or action in goes_on or not may_pause:
                return
            if direction in stream.continued:
                return
            yield
            if self._guest.failed is not None:
                raise self._failure(f"the instance failed: {self._guest.failed}")

    def _failure(self, message: str) -> FunctionFailedError:
        return FunctionFailedError(message, self.plugin.name, self.phase)
