"""Both codecs back to back: a forwarding handler between a client and an upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from anywasm.server.http import Headers, HttpExchange, Listener
from anywasm.server.upstream import UpstreamFailure, UpstreamPool

Run = Callable[[Any], None]

HOP_BY_HOP = (b"connection", b"transfer-encoding")


class Forward:
    """The least that a proxy needs."""

    def __init__(self, exchange: HttpExchange, pool: UpstreamPool) -> None:
        self.exchange = exchange
        self.pool = pool

    def on_request_headers(self, end_stream: bool) -> None:
        exchange = self.exchange
        on_data = self.on_upgraded_data if exchange.asks_upgrade else None
        headers = [header for header in exchange.headers if header[0] not in HOP_BY_HOP]
        self.stream = self.pool.request(
            self, exchange.method, exchange.target, headers, end_stream, on_data
        )

    def on_request_data(self, data: bytes, end_stream: bool) -> None:
        self.stream.send_data(data, end_stream)

    def on_request_trailers(self, trailers: Headers) -> None:
        self.stream.send_trailers(trailers)

    def on_unwritable(self) -> None:
        self.stream.pause_reading()

    def on_writable(self) -> None:
        self.stream.resume_reading()

    def on_complete(self) -> None:
        pass

    def on_reset(self, reason: str) -> None:
        self.stream.reset(reason)

    def on_client_raw(self, data: bytes, end_stream: bool) -> None:
        if end_stream:
            self.stream.close_raw()
        else:
            self.stream.send_raw(data)

    def on_informational(self, status: int, headers: Headers) -> None:
        self.exchange.send_informational(status, headers)

    def on_response_headers(self, status: int, headers: Headers, end_stream: bool) -> None:
        headers = [header for header in headers if header[0] not in HOP_BY_HOP]
        if status == 101:
            self.exchange.upgrade(headers, self.on_client_raw)
        else:
            self.exchange.send_headers(status, headers, end_stream)

    def on_response_data(self, data: bytes, end_stream: bool) -> None:
        self.exchange.send_data(data, end_stream)

    def on_response_trailers(self, trailers: Headers) -> None:
        self.exchange.send_trailers(trailers)

    def on_upgraded_data(self, data: bytes, end_stream: bool) -> None:
        if end_stream:
            self.exchange.close_raw()
        else:
            self.exchange.send_raw(data)

    def on_upstream_unwritable(self) -> None:
        self.exchange.pause_reading()

    def on_upstream_writable(self) -> None:
        self.exchange.resume_reading()

    def on_upstream_complete(self) -> None:
        pass

    def on_upstream_reset(self, failure: UpstreamFailure) -> None:
        if self.exchange.response_started:
            self.exchange.reset(failure.detail)
        else:
            self.exchange.respond(failure.status, (), failure.text.encode())


async def connect(client: Any) -> tuple[Listener, asyncio.StreamReader, asyncio.StreamWriter]:
    listener = Listener(lambda exchange: Forward(exchange, client.pool), "127.0.0.1", date=False)
    await listener.start()
    port = listener.addresses[0][1]
    return listener, *await asyncio.open_connection("127.0.0.1", port)


def test_a_body_larger_than_all_buffers_comes_back(run: Run, up: Any) -> None:
    async def echo(peer: Any) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while data := await peer.reader.read(1 << 16):
            peer.send(data)
            await peer.writer.drain()

    async def main() -> None:
        async with up.serve(echo) as client:
            listener, reader, writer = await connect(client)
            chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(200):
                writer.write(chunk)
            writer.write(b"0\r\na: 1\r\n\r\n")
            await asyncio.sleep(0.1)
            await reader.readuntil(b"\r\n\r\n")
            size = 0
            while count := int(await reader.readuntil(b"\r\n"), 16):
                assert await reader.readexactly(count + 2) == bytes(count) + b"\r\n"
                size += count
            assert size == 200 << 16
            assert await reader.readuntil(b"\r\n\r\n") == b"a: 1\r\n\r\n"
            writer.close()
            listener.close()

    run(main())


def test_another_protocol_passes_through(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        assert b"\r\nupgrade: echo\r\nconnection: upgrade\r\n" in await peer.head()
        peer.send(b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
        while data := await peer.reader.read(1 << 16):
            peer.send(data)
            await peer.writer.drain()
        peer.send(b"bye")

    async def main() -> None:
        async with up.serve(script) as client:
            listener, reader, writer = await connect(client)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
            )
            head = (
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n"
            )
            assert await reader.readexactly(len(head) + 5) == head + b"hello"
            data = bytes(range(256)) * 40_000
            writer.write(data)
            writer.write_eof()
            assert await reader.read() == data + b"bye"
            writer.close()
            await up.eventually(lambda: client.upstream.open == listener.connections_active == 0)
            listener.close()

    run(main())


def test_either_side_that_goes_away_takes_the_other_along(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
        await go.wait()

    go = asyncio.Event()

    async def main() -> None:
        async with up.serve(script) as client:
            for gone in ("client", "upstream"):
                listener, reader, writer = await connect(client)
                writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                await reader.readuntil(b"some")
                if gone == "client":
                    writer.close()
                    await up.eventually(lambda: client.pool.connections == 0)
                else:
                    go.set()
                    assert await reader.read() == b""
                    writer.close()
                listener.close()

    run(main())
