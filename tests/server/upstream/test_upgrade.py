"""After a 101: raw bytes both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.server.upstream import FailureReason, StreamStateError

Run = Callable[[Any], None]

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
UPGRADE = [(b"upgrade", b"echo"), (b"connection", b"upgrade")]


async def echo(peer: Any) -> None:
    """Echo until the client ends its direction, then say something more."""
    head = await peer.head()
    assert head.endswith(b"\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n")
    peer.send(SWITCH + b"first")
    while data := await peer.reader.read(1 << 16):
        peer.send(data)
        await peer.writer.drain()
    peer.send(b"last")


def test_both_directions_are_raw_and_close_one_by_one(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(echo) as client:
            recorder, stream = client.begin(headers=UPGRADE, upgrade=True)
            with pytest.raises(StreamStateError):
                stream.send_raw(b"early")
            await up.eventually(lambda: b"".join(recorder.raw) == b"first")
            assert recorder.events[:2] == ["headers", "raw"]
            assert recorder.status == 101
            assert (b"upgrade", b"echo") in recorder.headers
            with pytest.raises(StreamStateError):
                stream.send_data(b"no body")
            stream.send_raw(b"\x00HTTP/1.1 200 OK\r\n\r\n")
            await up.eventually(lambda: recorder.raw[-1].endswith(b"\r\n\r\n"))
            stream.close_raw()
            with pytest.raises(StreamStateError):
                stream.send_raw(b"late")
            await recorder.ended.wait()
            assert b"".join(recorder.raw) == b"first\x00HTTP/1.1 200 OK\r\n\r\nlast"
            assert recorder.events[-2:] == ["raw end", "complete"]
            await up.eventually(lambda: client.pool.connections == 0)

    run(main())


def test_the_upstream_may_end_its_direction_first(run: Run, up: Any) -> None:
    received: list[bytes] = []

    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(SWITCH)
        peer.writer.write_eof()
        received.append(await peer.rest())

    async def main() -> None:
        async with up.serve(script) as client:
            recorder, stream = client.begin(headers=UPGRADE, upgrade=True)
            await up.eventually(lambda: recorder.events == ["headers", "raw end"])
            for _ in range(100):
                stream.send_raw(bytes(10_000))
            stream.close_raw()
            assert recorder.events[-1] == "complete"
            # What was handed over before the close still arrives.
            await up.eventually(lambda: received == [bytes(1_000_000)])

    run(main())


def test_an_upstream_that_goes_away_resets_the_stream(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        peer.send(SWITCH)
        await go.wait()
        peer.writer.transport.abort()

    go = asyncio.Event()

    async def main() -> None:
        async with up.serve(script) as client:
            recorder, stream = client.begin(headers=UPGRADE, upgrade=True)
            await up.eventually(lambda: recorder.events == ["headers"])
            go.set()
            while not recorder.ended.is_set():
                stream.send_raw(b"x")
                await asyncio.sleep(0.001)
            assert recorder.events[-1] == "reset"
            assert recorder.failure.reason is FailureReason.CONNECTION_TERMINATION

    run(main())


def test_either_side_can_be_held(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(echo) as client:
            recorder, stream = client.begin(headers=UPGRADE, upgrade=True)
            await up.eventually(lambda: b"".join(recorder.raw) == b"first")
            stream.pause_reading()
            while stream.writable:
                stream.send_raw(bytes(1 << 16))
                await asyncio.sleep(0)
            await asyncio.sleep(0.02)
            assert b"".join(recorder.raw) == b"first"
            stream.resume_reading()
            await recorder.writable.wait()
            stream.close_raw()
            await recorder.ended.wait()
            assert recorder.raw[-2].endswith(b"last")

    run(main())


def test_an_upstream_may_decline(run: Run, up: Any) -> None:
    async def main() -> None:
        async with up.serve(up.always_ok) as client:
            for _ in range(2):
                recorder = await client.ask(headers=UPGRADE, upgrade=True)
                assert (recorder.status, recorder.body) == (200, b"ok")
            assert client.upstream.accepted == 1

    run(main())


def test_a_handler_that_fails_at_raw_bytes_resets_its_stream(run: Run, up: Any) -> None:
    def fail(event: str) -> None:
        if event == "raw":
            raise ZeroDivisionError

    async def main() -> None:
        async with up.serve(echo) as client:
            recorder = await client.ask(headers=UPGRADE, upgrade=True, hook=fail)
            assert recorder.events == ["headers", "raw", "reset"]
            await up.eventually(lambda: client.upstream.open == 0)

    run(main())
