"""What a guest waits for from outside, and how the answers reach it.

Answers come from any thread; `Guest.post` brings each to the guest when that is free. The guest is
called once per answer, on the root context that asked, while the answer's headers and body can be
read. Ids are proxy-wasm-cpp-host's: the kind in the two low bits, first ids 4, 5, 6, 7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from anywasm.abi.buffer import Buffer
from anywasm.abi.calls import (
    MESSAGE_COST,
    Cancellable,
    GrpcTarget,
    HttpCall,
    HttpCallResponse,
)
from anywasm.abi.enums import BufferType, MapType, Status
from anywasm.abi.grpc_events import GuestGrpcEvents
from anywasm.abi.headers import HeaderMap
from anywasm.abi.inbox import Inbox
from anywasm.abi.pairs import Pair

if TYPE_CHECKING:
    from anywasm.abi.context import RootContext
    from anywasm.abi.guest import Guest

_HTTP, _GRPC_CALL, _GRPC_STREAM, _REDIS = range(4)
_STEP = 4

#: Calls that one guest may have under way.
MAX_CALLS = 65536

_TOO_MUCH = b"too much waits for the guest"
#: Instead of an answer for which there is no room: as for an upstream's answer that is too long.
_OVERFLOW = HttpCallResponse(
    (
        (b":status", b"503"),
        (b"content-length", b"%d" % len(_TOO_MUCH)),
        (b"content-type", b"text/plain"),
    ),
    _TOO_MUCH,
)
#: Higress's status where there is no answer.
_REDIS_FAILED = 2


class _Call(NamedTuple):
    """One call under way; `run` is a `GrpcStream` where the id says so.

    `opened` is what beginning it has the host hold, `size` what it holds by now, at most.
    """

    root: RootContext
    run: Any
    opened: int
    size: int


class Callouts:
    """The calls of one guest that are under way. Used by the thread that uses the guest.

    Attributes:
        inbox: What has arrived for it, also in other threads.
    """

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._calls: dict[int, _Call] = {}
        self._last = [_HTTP, _GRPC_CALL, _GRPC_STREAM, _REDIS]
        self._bytes = 0
        self.inbox = Inbox(guest.services.limits.calls_bytes)

    def __len__(self) -> int:
        return len(self._calls)

    def _begin(
        self,
        root: RootContext,
        kind: int,
        refusal: Status,
        begin: Callable[[int], Cancellable | None],
        size: int,
    ) -> int | Status:
        """Begin a call that has the host hold `size` bytes until it ends."""
        if len(self._calls) >= MAX_CALLS or not self._has_room(size):
            return Status.INTERNAL_FAILURE
        number = self._last[kind]
        while True:
            number = (number + _STEP) & 0xFFFFFFFF or _STEP
            if number not in self._calls:
                break
        begun = begin(number)
        if begun is None:
            return refusal
        self._last[kind] = number
        self._calls[number] = _Call(root, begun, size, size)
        self._bytes += size
        return number

    def _has_room(self, size: int) -> bool:
        most = self._guest.services.limits.calls_bytes
        if self._bytes + size > most:
            # Streams do not tell what they have sent meanwhile: they are asked when it matters.
            self._bytes = 0
            for number, call in self._calls.items():
                if number % _STEP == _GRPC_STREAM:
                    self._calls[number] = call = call._replace(size=call.opened + call.run.unsent)
                self._bytes += call.size
        return self._bytes + size <= most

    def _end(self, number: int) -> _Call | None:
        self.inbox.forget(number)
        call = self._calls.pop(number, None)
        if call is not None:
            self._bytes -= call.size
        return call

    def cancel(self, root: RootContext) -> None:
        """Cancel what `root` waits for; nothing of it is delivered any more."""
        for number in [number for number, call in self._calls.items() if call.root is root]:
            ended = self._end(number)
            if ended is not None:
                ended.run.cancel()

    def close(self) -> None:
        """Cancel everything; nothing is delivered any more."""
        calls, self._calls = self._calls, {}
        self._bytes = 0
        self.inbox.clear()
        for call in calls.values():
            call.run.cancel()

    # --- HTTP ---

    def http_call(self, root: RootContext, call: HttpCall) -> int | Status:
        """Begin an HTTP call; its id, or BAD_ARGUMENT for an unknown cluster."""
        caller = self._guest.services.http
        if caller is None:
            return Status.BAD_ARGUMENT

        def begin(number: int) -> Cancellable | None:
            def arrived(response: HttpCallResponse) -> None:
                head = (*response.headers, *response.trailers)
                if not self.inbox.put(number, len(response.body) + _size(head)):
                    response = _OVERFLOW
                self._guest.post(lambda: self._http_response(root, number, response))

            return caller.call(call, arrived)

        size = len(call.body) + _size(call.headers) + _size(call.trailers)
        return self._begin(root, _HTTP, Status.BAD_ARGUMENT, begin, size)

    def _http_response(self, root: RootContext, id: int, response: HttpCallResponse) -> None:
        callback = self._guest.callbacks.on_http_call_response
        if self._end(id) is None or callback is None:
            return
        trailers = HeaderMap(response.trailers) if response.trailers else None
        root.maps[MapType.HTTP_CALL_RESPONSE_HEADERS] = HeaderMap(response.headers)
        root.maps[MapType.HTTP_CALL_RESPONSE_TRAILERS] = trailers
        body = Buffer(response.body, writable=False)
        root.buffers[BufferType.HTTP_CALL_RESPONSE_BODY] = body
        try:
            self._guest.call(
                root,
                callback,
                root.id,
                id,
                len(response.headers),
                len(response.body),
                len(response.trailers),
            )
        finally:
            root.maps[MapType.HTTP_CALL_RESPONSE_HEADERS] = None
            root.maps[MapType.HTTP_CALL_RESPONSE_TRAILERS] = None
            root.buffers[BufferType.HTTP_CALL_RESPONSE_BODY] = None

    # --- gRPC ---

    def grpc_call(
        self, root: RootContext, target: GrpcTarget, message: bytes, timeout: float | None
    ) -> int | Status:
        """Begin a unary call; its id, or PARSE_FAILURE for an upstream that is not understood."""
        caller = self._guest.services.grpc
        if caller is None:
            return Status.PARSE_FAILURE

        def begin(number: int) -> Cancellable | None:
            events = GuestGrpcEvents(self, root, number, streaming=False)
            return caller.call(target, message, timeout, events)

        size = len(message) + _size(target.metadata)
        return self._begin(root, _GRPC_CALL, Status.PARSE_FAILURE, begin, size)

    def grpc_stream(self, root: RootContext, target: GrpcTarget) -> int | Status:
        """Open a stream; its id, or PARSE_FAILURE for an upstream that is not understood."""
        caller = self._guest.services.grpc
        if caller is None:
            return Status.PARSE_FAILURE

        def begin(number: int) -> Cancellable | None:
            return caller.stream(target, GuestGrpcEvents(self, root, number, streaming=True))

        size = _size(target.metadata)
        return self._begin(root, _GRPC_STREAM, Status.PARSE_FAILURE, begin, size)

    def grpc_send(self, id: int, message: bytes, end_stream: bool) -> Status | None:
        """Send on a stream; BAD_ARGUMENT for another kind of call, NOT_FOUND for none.

        INTERNAL_FAILURE where too much waits to be sent already; the stream is as it was then.
        """
        if id % _STEP != _GRPC_STREAM:
            return Status.BAD_ARGUMENT
        stream = self._calls.get(id)
        if stream is None:
            return Status.NOT_FOUND
        size = len(message) + MESSAGE_COST
        if not self._has_room(size):
            return Status.INTERNAL_FAILURE
        stream.run.send(message, end_stream)
        stream = self._calls[id]
        self._calls[id] = stream._replace(size=stream.size + size)
        self._bytes += size
        return None

    def grpc_close(self, id: int) -> Status | None:
        """Half-close a stream; cancel a unary call."""
        if id % _STEP == _GRPC_STREAM:
            stream = self._calls.get(id)
            if stream is None:
                return Status.NOT_FOUND
            stream.run.half_close()
            return None
        return self.grpc_cancel(id)

    def grpc_cancel(self, id: int) -> Status | None:
        """Cancel a call or reset a stream; nothing of it is delivered any more."""
        if id % _STEP not in (_GRPC_CALL, _GRPC_STREAM):
            return Status.BAD_ARGUMENT
        call = self._end(id)
        if call is None:
            return Status.NOT_FOUND
        call.run.cancel()
        return None

    def grpc_metadata(
        self, root: RootContext, id: int, kind: MapType, metadata: tuple[Pair, ...]
    ) -> None:
        """Deliver metadata of a stream."""
        callbacks = self._guest.callbacks
        callback = (
            callbacks.on_grpc_receive_initial_metadata
            if kind is MapType.GRPC_CALL_INITIAL_METADATA
            else callbacks.on_grpc_receive_trailing_metadata
        )
        if id not in self._calls or callback is None:
            return
        root.maps[kind] = HeaderMap(metadata)
        try:
            self._guest.call(root, callback, root.id, id, len(metadata))
        finally:
            root.maps[kind] = None

    def grpc_message(self, root: RootContext, id: int, message: bytes) -> None:
        """Deliver a message; it ends a unary call."""
        if id not in self._calls:
            self.inbox.forget(id)
            return
        if id % _STEP == _GRPC_CALL:
            self._end(id)
        else:
            self.inbox.take(id, len(message) + MESSAGE_COST)
        callback = self._guest.callbacks.on_grpc_receive
        if callback is None:
            return
        root.buffers[BufferType.GRPC_CALL_MESSAGE] = Buffer(message, writable=False)
        try:
            self._guest.call(root, callback, root.id, id, len(message))
        finally:
            root.buffers[BufferType.GRPC_CALL_MESSAGE] = None

    def grpc_closed(self, root: RootContext, id: int, status: int, message: str) -> None:
        """Deliver the end of a stream, or the failure of a unary call."""
        if self._end(id) is None:
            return
        callback = self._guest.callbacks.on_grpc_close
        if callback is not None:
            root.status = (status, message.encode())
            try:
                self._guest.call(root, callback, root.id, id, status)
            finally:
                root.status = (status, b"")

    # --- Redis ---

    def redis_call(
        self, root: RootContext, cluster: str, query: bytes, time_left: float | None
    ) -> int | Status:
        """Send a command; its id, or BAD_ARGUMENT for a cluster that is not configured."""
        caller = self._guest.services.redis
        if caller is None:
            return Status.BAD_ARGUMENT

        def begin(number: int) -> Cancellable | None:
            def arrived(status: int, answer: bytes) -> None:
                if not self.inbox.put(number, len(answer)):
                    status, answer = _REDIS_FAILED, b""
                self._guest.post(lambda: self._redis_response(root, number, status, answer))

            owner = root.plugin.name
            return caller.call(cluster, query, arrived, owner=owner, time_left=time_left)

        return self._begin(root, _REDIS, Status.BAD_ARGUMENT, begin, len(query))

    def _redis_response(self, root: RootContext, id: int, status: int, answer: bytes) -> None:
        callback = self._guest.callbacks.on_redis_call_response
        if self._end(id) is None or callback is None:
            return
        root.buffers[BufferType.REDIS_CALL_RESPONSE] = Buffer(answer, writable=False)
        try:
            self._guest.call(root, callback, root.id, id, status, len(answer))
        finally:
            root.buffers[BufferType.REDIS_CALL_RESPONSE] = None


def _size(pairs: tuple[Pair, ...]) -> int:
    return sum(len(name) + len(value) for name, value in pairs)
