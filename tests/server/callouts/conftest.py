"""An event loop in a thread of its own, and the services that are called from other threads."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from anywasm.server.upstream import Cluster, UpstreamClusters

#: For what another thread or a server does: far more than it ever takes.
PATIENCE = 20.0


class LoopThread:
    """A loop that runs in its own thread; what it reports fails the test."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.reports: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: self.reports.append(context))
        self.thread = threading.Thread(target=loop.run_forever, name="callout-loop")
        self.thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def do(self, function: Callable[[], Any]) -> Any:
        """Call something on the loop."""

        async def call() -> Any:
            return function()

        return self.run(call())

    def settle(self) -> None:
        """Let everything run that is ready, also what other threads hand over."""
        for _ in range(5):
            self.do(lambda: None)

    def close(self) -> None:
        self.run(self._finish())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        assert self.reports == []

    async def _finish(self) -> None:
        end = self.loop.time() + PATIENCE
        while asyncio.all_tasks() - {asyncio.current_task()}:
            assert self.loop.time() < end, asyncio.all_tasks()
            await asyncio.sleep(0.01)


@pytest.fixture(params=["uvloop", "asyncio"])
def looping(request: pytest.FixtureRequest) -> Iterator[LoopThread]:
    """A running loop of either kind."""
    new = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    running = LoopThread(new())
    yield running
    running.close()


@pytest.fixture
def clusters(looping: LoopThread) -> Iterator[UpstreamClusters]:
    """No clusters yet."""
    clusters = UpstreamClusters()
    yield clusters
    looping.do(clusters.close)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of a self-signed certificate for `up.test`, and of its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=up.test -addext subjectAltName=DNS:up.test"
    )
    subprocess.run(
        [*command.split(), "-out", str(files[0]), "-keyout", str(files[1])],
        check=True,
        capture_output=True,
    )
    return files


# --- HTTP ----------------------------------------------------------------------------------------


class HttpUpstream:
    """Answers requests on the test's loop as their path says."""

    def __init__(self, looping: LoopThread) -> None:
        self._looping = looping
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.gone = threading.Event()
        self._server = looping.run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = b""
        if b"content-length: " in head:
            length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
        elif b"transfer-encoding: chunked" in head:
            body = await reader.readuntil(b"\r\n0\r\n")
            body += await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        self.bodies.append(body)
        path = head.split(b" ")[1]
        if path == b"/hang":
            await reader.read()
            self.gone.set()
            raise OSError("the client left")
        if path == b"/cut":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            raise OSError("on purpose")
        if path == b"/nonsense":
            writer.write(b"nonsense\r\n\r\n")
            raise OSError("on purpose")
        if path == b"/trailers":
            writer.write(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: x-hop\r\n"
                b"x-hop: 1\r\nx-twice: a\r\nx-twice: b\r\n\r\n"
                b"2\r\nab\r\n1\r\nc\r\n0\r\nx-end: yes\r\n\r\n"
            )
        elif path == b"/big":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n" + bytes(100001))
        elif path == b"/early":
            writer.write(
                b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\n"
                b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
            )
        else:
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n"
                b"x-auth-user: alice\r\nx-user-id: 42\r\n\r\nok"
            )
        await writer.drain()

    async def _close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    def close(self) -> None:
        self._looping.run(self._close())


@pytest.fixture
def http_upstream(looping: LoopThread, clusters: UpstreamClusters) -> Iterator[HttpUpstream]:
    """The cluster `up`."""
    upstream = HttpUpstream(looping)
    clusters.add(Cluster("up", (("127.0.0.1", upstream.port),)))
    yield upstream
    looping.do(clusters.close)
    upstream.close()


# --- waiting -------------------------------------------------------------------------------------


class Mailbox:
    """What is told by another thread, in order."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        self.threads: set[str] = set()

    def put(self, *told: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self._queue.put(told[0] if len(told) == 1 else told)

    def get(self) -> Any:
        return self._queue.get(timeout=PATIENCE)

    @property
    def empty(self) -> bool:
        return self._queue.empty()


def eventually(condition: Callable[[], object]) -> None:
    """Wait for what another thread or process does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def kit() -> Any:
    """What tests would import from here, if they could."""
    return SimpleNamespace(Mailbox=Mailbox, PATIENCE=PATIENCE, eventually=eventually)
