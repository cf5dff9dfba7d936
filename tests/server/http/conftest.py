"""A real listener on a free port, handlers that record what they are told, and a raw client."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from anywasm.server.http import Header, Headers, HttpExchange, HttpLimits, Listener

Hook = Callable[["Recorder"], None]


def echo(handler: Recorder) -> None:
    """Answer with the request's body."""
    handler.exchange.respond(200, [(b"content-type", b"text/plain")], handler.body)


class Recorder:
    """A handler that keeps what it is told and calls the hooks of its test."""

    def __init__(self, exchange: HttpExchange, on_headers: Hook | None, on_end: Hook) -> None:
        self.exchange = exchange
        self.on_headers = on_headers
        self.on_end = on_end
        self.events: list[str] = []
        self.pieces: list[bytes] = []
        self.trailers: Headers = []
        self.ended = asyncio.Event()
        self.unwritable = asyncio.Event()
        self.writable = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def on_request_headers(self, end_stream: bool) -> None:
        self.events.append("headers+end" if end_stream else "headers")
        if self.on_headers is not None:
            self.on_headers(self)
        if end_stream and not self.exchange.response_started:
            self.on_end(self)

    def on_request_data(self, data: bytes, end_stream: bool) -> None:
        assert bool(data) is not end_stream
        self.pieces.append(data)
        if end_stream:
            self.events.append("end")
            self.on_end(self)
        elif self.events[-1] != "data":
            self.events.append("data")

    def on_request_trailers(self, trailers: Headers) -> None:
        self.events.append("trailers")
        self.trailers = trailers
        self.on_end(self)

    def on_unwritable(self) -> None:
        self.unwritable.set()

    def on_writable(self) -> None:
        self.writable.set()

    def on_complete(self) -> None:
        self._end("complete")

    def on_reset(self, reason: str) -> None:
        self._end(f"reset: {reason}")

    def _end(self, how: str) -> None:
        assert not self.ended.is_set()
        self.events.append(how)
        self.ended.set()


@dataclasses.dataclass
class Response:
    status: int
    headers: list[Header]
    body: bytes
    trailers: list[Header]

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name]


def _fields(block: bytes) -> list[Header]:
    lines = block.split(b"\r\n") if block else []
    pairs = [line.split(b": ", 1) for line in lines]
    return [(name, value) for name, value in pairs]


class Client:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def response(self, head_only: bool = False) -> Response:
        """Read one response, by its own framing; EOF in the midst is an error."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, _, block = head[:-4].partition(b"\r\n")
        version, status, *_ = line.split(b" ")
        assert version == b"HTTP/1.1"
        response = Response(int(status), _fields(block), b"", [])
        lengths = response.values(b"content-length")
        codings = response.values(b"transfer-encoding")
        assert len(lengths) + len(codings) <= 1
        if head_only or response.status in (204, 304) or 100 <= response.status < 200:
            return response
        if lengths:
            response.body = await self.reader.readexactly(int(lengths[0]))
        elif codings:
            await self._chunks(response)
        else:
            response.body = await self.reader.read()
        return response

    async def _chunks(self, response: Response) -> None:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            response.body += await self.reader.readexactly(size)
            assert await self.reader.readexactly(2) == b"\r\n"
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            response.trailers += _fields(line[:-2])

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await self.reader.read()

    async def ask(self, request: bytes) -> Response:
        self.send(request)
        return await self.response()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that the other side of a socket does."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.001)


class Server:
    """A started listener and the handlers that it made."""

    def __init__(self, **options: Any) -> None:
        on_headers = options.pop("on_headers", None)
        on_end = options.pop("on_end", echo)
        factory = options.pop("factory", None)
        limits = HttpLimits(**options.pop("limits", {}))
        self.handlers: list[Recorder] = []
        self._clients: list[Client] = []

        def record(exchange: HttpExchange) -> Recorder:
            self.handlers.append(Recorder(exchange, on_headers, on_end))
            return self.handlers[-1]

        if not {"path", "sockets"} & options.keys():
            options["host"] = "127.0.0.1"
        self.listener = Listener(factory or record, limits=limits, **options)

    @property
    def port(self) -> int:
        address = self.listener.addresses[0]
        assert isinstance(address, tuple)
        return address[1]

    async def connect(self, **options: Any) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port, **options))
        self._clients.append(client)
        return client

    async def handler(self, index: int = -1) -> Recorder:
        """Return a handler, as soon as there is one."""
        await eventually(lambda: bool(self.handlers))
        return self.handlers[index]

    async def stop(self) -> None:
        self.listener.close()
        for client in self._clients:
            await client.close()
        assert self.listener.exchanges_active == 0
        for handler in self.handlers:
            assert handler.ended.is_set(), handler.events


@contextlib.asynccontextmanager
async def serve(**options: Any) -> AsyncIterator[Server]:
    server = Server(**options)
    await server.listener.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
def http() -> Any:
    """`serve` and `eventually`, for tests that cannot import them from here."""
    return SimpleNamespace(serve=serve, eventually=eventually)
