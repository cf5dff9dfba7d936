"""After a 101: raw bytes both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.server.http import ExchangeStateError, InvalidResponseError

Run = Callable[[Any], None]

ASK = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n"
UPGRADE = [(b"upgrade", b"echo")]
HEAD = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n"


class Echo:
    """Agrees to an upgrade, echoes, and says something when the client has ended."""

    def __init__(self, handler: Any) -> None:
        self.handler = handler
        self.exchange = handler.exchange
        self.raw: list[bytes] = []
        self.ended = False
        self.exchange.upgrade(UPGRADE, self.on_upgraded_data)

    def on_upgraded_data(self, data: bytes, end_stream: bool) -> None:
        assert bool(data) is not end_stream
        assert not self.ended
        if end_stream:
            self.ended = True
            self.exchange.send_raw(b"last")
            self.exchange.close_raw()
        else:
            self.raw.append(data)
            self.exchange.send_raw(data)


def test_both_directions_are_raw_and_close_one_by_one(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=Echo) as server:
            client = await server.connect()
            client.send(ASK + b"\r\n")
            assert await client.reader.readexactly(len(HEAD)) == HEAD
            raw = b"\x00GET / HTTP/1.1\r\n\r\n" + bytes(100_000)
            client.send(raw)
            assert await client.reader.readexactly(len(raw)) == raw
            client.writer.write_eof()
            assert await client.rest() == b"last"
            handler = await server.handler()
            await handler.ended.wait()
            assert handler.events == ["headers+end", "complete"]
            await http.eventually(lambda: server.listener.connections_active == 0)

    run(main())


def test_an_upgrade_may_follow_later_and_after_a_body(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=lambda handler: None) as server:
            client = await server.connect()
            client.send(ASK + b"Content-Length: 4\r\n\r\nbo")
            handler = await server.handler()
            with pytest.raises(ExchangeStateError):
                handler.exchange.upgrade(UPGRADE, print)
            client.send(b"dy")
            await http.eventually(lambda: handler.events[-1] == "end")
            assert handler.body == b"body"
            await asyncio.sleep(0.01)
            handler.exchange.upgrade(UPGRADE, lambda data, end: received.append(data))
            received: list[bytes] = []
            assert await client.reader.readexactly(len(HEAD)) == HEAD
            client.send(b"raw")
            await http.eventually(lambda: received == [b"raw"])
            assert handler.exchange.upgraded
            for call in (handler.exchange.respond, handler.exchange.send_headers):
                with pytest.raises(ExchangeStateError):
                    call(200)
            with pytest.raises(ExchangeStateError):
                handler.exchange.send_data(b"no")
            handler.exchange.reset("enough")
            assert handler.events[-1] == "reset: enough"
            handler.exchange.send_raw(b"dropped")
            handler.exchange.close_raw()

    run(main())


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: echo\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
    ],
)
def test_only_who_asks_is_upgraded(run: Run, http: Any, head: bytes) -> None:
    def on_end(handler: Any) -> None:
        assert not handler.exchange.asks_upgrade
        with pytest.raises(InvalidResponseError):
            handler.exchange.upgrade(UPGRADE, print)
        handler.exchange.respond(200, (), b"no")

    async def main() -> None:
        async with http.serve(on_end=on_end) as server:
            client = await server.connect()
            assert (await client.ask(head)).body == b"no"

    run(main())


@pytest.mark.parametrize(
    "headers", [[], [(b"upgrade", b"a\r\nb: c")], [(b"upgrade", b"a"), (b"b c", b"d")]]
)
def test_a_bad_head_is_refused_and_the_exchange_goes_on(run: Run, http: Any, headers: Any) -> None:
    def on_end(handler: Any) -> None:
        with pytest.raises(InvalidResponseError):
            handler.exchange.upgrade(headers, print)
        handler.exchange.respond(200, (), b"no")

    async def main() -> None:
        async with http.serve(on_end=on_end) as server:
            client = await server.connect()
            for _ in range(2):
                assert (await client.ask(ASK + b"\r\n")).body == b"no"

    run(main())


@pytest.mark.parametrize(
    "more", [b"\x01", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"]
)
def test_a_client_that_does_not_wait_is_not_upgraded(run: Run, http: Any, more: bytes) -> None:
    def on_end(handler: Any) -> None:
        with pytest.raises(ExchangeStateError):
            handler.exchange.upgrade(UPGRADE, print)
        handler.exchange.respond(400, [(b"connection", b"close")])

    async def main() -> None:
        async with http.serve(on_end=on_end) as server:
            client = await server.connect()
            client.send(ASK + b"\r\n" + more)
            assert (await client.response()).status == 400

    run(main())


def test_the_handler_may_end_its_direction_first(run: Run, http: Any) -> None:
    received: list[bytes] = []

    def on_end(handler: Any) -> None:
        exchange = handler.exchange
        exchange.upgrade(UPGRADE, lambda data, end: received.append(data))
        exchange.send_raw(b"all")
        exchange.close_raw()
        with pytest.raises(ExchangeStateError):
            exchange.send_raw(b"late")
        with pytest.raises(ExchangeStateError):
            exchange.close_raw()

    async def main() -> None:
        async with http.serve(on_end=on_end) as server:
            client = await server.connect()
            client.send(ASK + b"\r\n")
            assert await client.rest() == HEAD + b"all"
            handler = await server.handler()
            assert not handler.ended.is_set()
            client.send(b"still here")
            await http.eventually(lambda: received == [b"still here"])
            client.writer.write_eof()
            await handler.ended.wait()
            assert received[-1] == b""
            assert handler.events[-1] == "complete"

    run(main())


def test_timeouts_spare_a_quiet_client_until_the_handler_has_ended(run: Run, http: Any) -> None:
    async def main() -> None:
        limits = {"body_timeout": 0.05, "idle_timeout": 0.05, "header_timeout": 0.05}
        async with http.serve(on_end=Echo, limits=limits) as server:
            client = await server.connect()
            client.send(ASK + b"\r\n")
            handler = await server.handler()
            await asyncio.sleep(0.2)
            assert not handler.ended.is_set()
            handler.exchange.close_raw()
            await handler.ended.wait()
            assert handler.events[-1].startswith("reset")

    run(main())


def test_a_client_that_goes_away_resets_the_exchange(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=Echo) as server:
            client = await server.connect()
            client.send(ASK + b"\r\n")
            await client.reader.readexactly(len(HEAD))
            handler = await server.handler()
            handler.exchange.send_raw(b"unread")
            await asyncio.sleep(0.01)
            client.writer.transport.abort()
            while not handler.ended.is_set():
                handler.exchange.send_raw(b"x")
                await asyncio.sleep(0.001)
            assert handler.events[-1].startswith("reset")

    run(main())


def test_either_side_can_be_held(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=Echo) as server:
            client = await server.connect()
            client.send(ASK + b"\r\n")
            await client.reader.readexactly(len(HEAD))
            handler = await server.handler()
            handler.exchange.pause_reading()
            client.send(b"held")
            await asyncio.sleep(0.02)
            sent = 0
            while handler.exchange.writable:
                handler.exchange.send_raw(bytes(1 << 16))
                sent += 1 << 16
                await asyncio.sleep(0)
            assert handler.unwritable.is_set()
            handler.exchange.resume_reading()
            more = bytes(1 << 20)
            client.send(more)
            assert await client.reader.readexactly(sent + 4) == bytes(sent) + b"held"
            await handler.writable.wait()
            client.writer.write_eof()
            assert await client.rest() == more + b"last"

    run(main())


def test_an_exception_at_raw_bytes_resets_the_exchange(
    run: Run, http: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def on_end(handler: Any) -> None:
        handler.exchange.upgrade(UPGRADE, lambda data, end: 1 // 0)

    async def main() -> None:
        async with http.serve(on_end=on_end) as server:
            client = await server.connect()
            client.send(ASK + b"\r\n")
            assert await client.reader.readexactly(len(HEAD)) == HEAD
            client.send(b"x")
            with pytest.raises(ConnectionResetError):
                await client.rest()
            assert server.handlers[0].events[-1] == "reset: the handler failed"
            assert "ZeroDivisionError" in caplog.text

    run(main())


def test_stopping_cuts_what_was_upgraded(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(on_end=Echo) as server:
            client = await server.connect()
            client.send(ASK + b"\r\n")
            await client.reader.readexactly(len(HEAD))
            assert await server.listener.drain(0.05) == 1
            handler = await server.handler()
            assert handler.events[-1].startswith("reset")

    run(main())
