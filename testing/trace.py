"""Plays a request and its response through one guest and writes down everything it did.

There is no server, no upstream and no clock in between, so that the same guest gives the same trace
on every engine, whether it is WebAssembly or a Python class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anywasm.abi.buffer import Buffer
from anywasm.abi.context import RootContext, StreamContext
from anywasm.abi.enums import Action, BufferType, MapType, StreamType
from anywasm.abi.guest import Guest
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.core.errors import AnyWasmError


@dataclass(frozen=True, slots=True)
class Message:
    """One half of an exchange.

    Attributes:
        headers: Pseudo headers first.
        chunks: The body, as it comes.
        trailers: The trailers.
    """

    headers: tuple[Pair, ...]
    chunks: tuple[bytes, ...] = ()
    trailers: tuple[Pair, ...] = ()


#: A step of a trace: its name, then what there was to see.
Step = tuple[Any, ...]

_REQUEST = (
    "request",
    StreamType.HTTP_REQUEST,
    MapType.HTTP_REQUEST_HEADERS,
    BufferType.HTTP_REQUEST_BODY,
    MapType.HTTP_REQUEST_TRAILERS,
)
_RESPONSE = (
    "response",
    StreamType.HTTP_RESPONSE,
    MapType.HTTP_RESPONSE_HEADERS,
    BufferType.HTTP_RESPONSE_BODY,
    MapType.HTTP_RESPONSE_TRAILERS,
)


class Tracer:
    """Plays exchanges on a root context of a guest; used by the thread that may use the guest.

    A pause of the headers that the guest does not end at once ends the direction, and so does a
    local response. A paused body is gathered, as in Envoy.

    Args:
        root: The plugin's root context.
    """

    def __init__(self, root: RootContext) -> None:
        self._guest: Guest = root.guest
        self._root = root
        self._steps: list[Step] = []

    def play(self, request: Message, response: Message) -> list[Step]:
        """The trace of one stream, from its creation to its deletion.

        A failure of the guest is a step, and the last one.
        """
        self._steps = []
        try:
            stream = self._guest.create_stream(self._root)
            if self._half(stream, request, *_REQUEST):
                stream.responding = True
                self._half(stream, response, *_RESPONSE)
            self._guest.end(stream)
        except AnyWasmError as error:
            self._steps.append(("failed", type(error).__name__))
        return self._steps

    def _half(
        self,
        stream: StreamContext,
        message: Message,
        name: str,
        direction: StreamType,
        headers: MapType,
        body: BufferType,
        trailers: MapType,
    ) -> bool:
        fields = stream.maps[headers] = HeaderMap(message.headers)
        ends = not message.chunks and not message.trailers
        if not self._call(stream, f"{name}_headers", direction, len(fields), int(ends)):
            return False
        held = b""
        for index, chunk in enumerate(message.chunks):
            buffer = stream.buffers[body] = Buffer(held + chunk)
            last = index + 1 == len(message.chunks) and not message.trailers
            size = len(buffer.data)
            passed = self._call(stream, f"{name}_body", direction, size, int(last))
            if stream.local_response is not None:
                return False
            if passed:
                self._steps.append((f"{name}_data", buffer.data))
            held = b"" if passed else buffer.data
        if message.trailers:
            tail = stream.maps[trailers] = HeaderMap(message.trailers)
            buffer = stream.buffers[body] = Buffer(held)
            passed = self._call(stream, f"{name}_trailers", direction, len(tail))
            self._steps.append((f"{name}_data", buffer.data))
            if not passed:
                return False
            self._show(f"{name}_trailers_sent", tail.pairs)
        self._show(f"{name}_headers_sent", fields.pairs)
        return True

    def _show(self, name: str, pairs: Sequence[Pair]) -> None:
        self._steps.append((name, tuple(pairs)))

    def _call(self, stream: StreamContext, name: str, direction: StreamType, *args: int) -> bool:
        """One callback, where it is exported; whether the stream goes on."""
        callback = getattr(self._guest.callbacks, f"on_{name}")
        if callback is None:
            return True
        stream.continued -= {direction}
        action = self._guest.call(stream, callback, stream.id, *args)
        asked = (sorted(stream.continued), sorted(stream.closed))
        self._steps.append((name, *args, action, *asked))
        if stream.local_response is not None:
            self._steps.append(("local_response", stream.local_response))
            return False
        if stream.closed:
            return False
        return action == Action.CONTINUE or direction in stream.continued
