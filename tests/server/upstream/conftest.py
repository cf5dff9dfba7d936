"""Real upstreams that follow a script, a handler that records, and loops of both kinds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from anywasm.server.http import Headers
from anywasm.server.upstream import Cluster, UpstreamFailure, UpstreamPool, UpstreamStream

Script = Callable[["Peer"], Awaitable[None]]
HOST = [(b"host", b"h")]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Recorder:
    """A handler that keeps what it is told; `hook` is called with the name of each event."""

    def __init__(self, hook: Callable[[str], None] | None = None) -> None:
        self.hook = hook
        self.events: list[str] = []
        self.status = 0
        self.headers: Headers = []
        self.informational: list[tuple[int, Headers]] = []
        self.pieces: list[bytes] = []
        self.trailers: Headers = []
        self.raw: list[bytes] = []
        self.failure: UpstreamFailure | None = None
        self.ended = asyncio.Event()
        self.unwritable = asyncio.Event()
        self.writable = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def _record(self, event: str) -> None:
        assert not self.ended.is_set(), (self.events, event)
        self.events.append(event)
        if self.hook is not None:
            self.hook(event)

    def on_informational(self, status: int, headers: Headers) -> None:
        self.informational.append((status, headers))
        self._record("informational")

    def on_response_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        self.status, self.headers = status, headers
        self._record("headers+end" if end_stream else "headers")

    def on_response_data(self, data: bytes, end_stream: bool) -> None:
        assert bool(data) is not end_stream
        self.pieces.append(data)
        if end_stream or self.events[-1] != "data":
            self._record("end" if end_stream else "data")

    def on_response_trailers(self, trailers: Headers) -> None:
        assert trailers
        self.trailers = trailers
        self._record("trailers")

    def on_upgraded_data(self, data: bytes, end_stream: bool) -> None:
        assert bool(data) is not end_stream
        self.raw.append(data)
        self._record("raw end" if end_stream else "raw")

    def on_upstream_unwritable(self) -> None:
        self.unwritable.set()
        self._record("unwritable")

    def on_upstream_writable(self) -> None:
        self.writable.set()
        self._record("writable")

    def on_upstream_complete(self) -> None:
        self._record("complete")
        self.ended.set()

    def on_upstream_reset(self, failure: UpstreamFailure) -> None:
        self.failure = failure
        self._record("reset")
        self.ended.set()


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def until(self, end: bytes) -> bytes:
        return await self.reader.readuntil(end)

    async def rest(self) -> bytes:
        return await self.reader.read()


class Upstream:
    """A listening server; each connection follows the script, and is then closed."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.open = 0
        self.server: asyncio.Server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._script(Peer(reader, writer))
        except asyncio.CancelledError:
            pass  # `stop`; streams of 3.10 report a cancelled handler as an error
        finally:
            self.open -= 1
            writer.close()
            self._tasks.discard(task)

    async def start(self, path: str | None = None, **options: Any) -> None:
        if path is None:
            self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, **options)
        else:
            self.server = await asyncio.start_unix_server(self._serve, path, **options)

    @property
    def port(self) -> int:
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        self.server.close()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that the other side of a socket does."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.001)


class Client:
    """A pool to an upstream, and shorthands for requests."""

    def __init__(self, pool: UpstreamPool, upstream: Upstream | None = None) -> None:
        self.pool = pool
        self._upstream = upstream
        self.recorders: list[Recorder] = []

    @property
    def upstream(self) -> Upstream:
        assert self._upstream is not None
        return self._upstream

    def begin(
        self,
        method: bytes = b"GET",
        *,
        headers: Headers | None = None,
        end_stream: bool = True,
        upgrade: bool = False,
        hook: Callable[[str], None] | None = None,
    ) -> tuple[Recorder, UpstreamStream]:
        recorder = Recorder(hook)
        stream = self.pool.request(
            recorder,
            method,
            b"/path?query",
            HOST + (headers or []),
            end_stream,
            recorder.on_upgraded_data if upgrade else None,
        )
        assert recorder.events == []
        self.recorders.append(recorder)
        return recorder, stream

    async def ask(self, method: bytes = b"GET", **options: Any) -> Recorder:
        recorder, _ = self.begin(method, **options)
        await recorder.ended.wait()
        return recorder


@contextlib.asynccontextmanager
async def pooled(upstream: Upstream | None = None, **options: Any) -> AsyncIterator[Client]:
    """A pool that must leave nothing behind."""
    if upstream is not None and "path" not in options:
        options["endpoints"] = (("127.0.0.1", upstream.port),)
    client = Client(UpstreamPool(Cluster("up", **options)), upstream)
    pool = client.pool
    try:
        yield client
    finally:
        pool.close()
        await eventually(lambda: pool.connections == 0)
        assert (pool.active, pool.pending, pool.connecting) == (0, 0, 0)
        for recorder in client.recorders:
            assert recorder.ended.is_set(), recorder.events


@contextlib.asynccontextmanager
async def serve(script: Script, **options: Any) -> AsyncIterator[Client]:
    """A pool and the upstream that it goes to."""
    upstream = Upstream(script)
    await upstream.start(options.get("path"), **options.pop("server", {}))
    try:
        async with pooled(upstream, **options) as client:
            yield client
    finally:
        await upstream.stop()


def answering(*responses: bytes) -> Script:
    """Answer bodiless requests of every connection with these, one after the other, then close."""

    async def script(peer: Peer) -> None:
        for response in responses:
            await peer.head()
            peer.send(response)
        await peer.writer.drain()

    return script


async def always_ok(peer: Peer) -> None:
    """Answer bodiless requests until the client closes."""
    while True:
        await peer.head()
        peer.send(OK)


@pytest.fixture
def up() -> Any:
    """What tests would import from here, if they could."""
    return SimpleNamespace(
        OK=OK,
        Recorder=Recorder,
        Upstream=Upstream,
        always_ok=always_ok,
        answering=answering,
        eventually=eventually,
        pooled=pooled,
        serve=serve,
    )
