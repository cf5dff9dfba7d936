"""The two directions of a stream, as data, so that one piece of code serves both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from anywasm.abi.enums import BufferType, MapType, StreamType
from anywasm.abi.headers import HeaderMap


class Sink(ABC):
    """What takes a message: the next filter, or the end of the chain.

    A class and no Protocol, because calls through it are the cheaper ones once it is compiled.
    """

    __slots__ = ()

    @abstractmethod
    def headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The headers; with `end_stream` there is nothing more."""

    @abstractmethod
    def data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the body; it may be empty with `end_stream`."""

    @abstractmethod
    def trailers(self, trailers: HeaderMap) -> None:
        """The trailers, which end the message."""


class _Nowhere(Sink):
    """Drops everything."""

    __slots__ = ()

    def headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """Drop them."""

    def data(self, data: bytes, end_stream: bool) -> None:
        """Drop it."""

    def trailers(self, trailers: HeaderMap) -> None:
        """Drop them."""


#: Where the ways of a stream lead that is over.
NOWHERE: Final[Sink] = _Nowhere()


@dataclass(frozen=True, slots=True, eq=False)
class Direction:
    """Where one direction's things are in the ABI."""

    stream: StreamType
    headers: MapType
    trailers: MapType
    body: BufferType


REQUEST: Final = Direction(
    StreamType.HTTP_REQUEST,
    MapType.HTTP_REQUEST_HEADERS,
    MapType.HTTP_REQUEST_TRAILERS,
    BufferType.HTTP_REQUEST_BODY,
)
RESPONSE: Final = Direction(
    StreamType.HTTP_RESPONSE,
    MapType.HTTP_RESPONSE_HEADERS,
    MapType.HTTP_RESPONSE_TRAILERS,
    BufferType.HTTP_RESPONSE_BODY,
)
