"""Requests out, responses back: framing, reuse, trailers, interim and early responses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.server.upstream import FailureReason, InvalidRequestError, StreamStateError

Run = Callable[[Any], None]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_response_is_told_in_order_and_the_connection_reused(run: Run, up: Any) -> None:
    response = (
        b"HTTP/1.1 207 Multi\r\nX-A: 1 \r\nSet-Cookie: a\r\nx-a:2\r\nSet-Cookie: b\r\n"
        b"Content-Length: 5\r\n\r\nhello"
    )
    heads: list[bytes] = []

    async def script(peer: Any) -> None:
        for _ in range(3):
            heads.append(await peer.head())
            peer.send(response)

    async def main() -> None:
        async with up.serve(script) as client:
            for _ in range(3):
                answer = await client.ask(headers=[(b"x-b", b"1"), (b"x-b", b"2")])
                assert answer.events == ["headers", "data", "end", "complete"]
                assert (answer.status, answer.body) == (207, b"hello")
                assert answer.headers == [
                    (b"x-a", b"1"),
                    (b"set-cookie", b"a"),
                    (b"x-a", b"2"),
                    (b"set-cookie", b"b"),
                    (b"content-length", b"5"),
                ]
            assert set(heads) == {
                b"GET /path?query HTTP/1.1\r\nhost: h\r\nx-b: 1\r\nx-b: 2\r\n\r\n"
            }
            assert client.upstream.accepted == 1
            counters = client.pool.counters
            assert (counters.requests, counters.connects, counters.reused) == (3, 1, 2)
            assert client.pool.active == 0

    run(main())


@pytest.mark.parametrize(
    ("method", "headers", "end_stream", "line"),
    [
        (b"GET", [], True, None),
        (b"DELETE", [], True, None),
        (b"POST", [], True, b"content-length: 0"),
        (b"GET", [(b"connection", b"x, Close")], True, b"connection: close"),
        (b"GET", [(b"connection", b"keep-alive"), (b"transfer-encoding", b"gzip")], True, None),
        (b"POST", [], False, b"transfer-encoding: chunked"),
        (b"POST", [(b"content-length", b"4")], False, b"content-length: 4"),
    ],
)
def test_the_codec_frames_the_request(
    run: Run, up: Any, method: bytes, headers: Any, end_stream: bool, line: bytes | None
) -> None:
    heads: list[bytes] = []

    async def script(peer: Any) -> None:
        heads.append(await peer.head())
        peer.send(up.OK)

    async def main() -> None:
        async with up.serve(script) as client:
            recorder, stream = client.begin(method, headers=headers, end_stream=end_stream)
            if not end_stream:
                stream.send_data(b"body", True)
            await recorder.ended.wait()
            lines = [] if line is None else [line]
            assert heads[0].split(b"\r\n")[1:-2] == [b"host: h", *lines]

    run(main())


def test_bodies_and_trailers_go_both_ways(run: Run, up: Any) -> None:
    async def script(peer: Any) -> None:
        await peer.head()
        assert await peer.until(b"0\r\na: 1\r\nb: 2\r\n\r\n") == (
            b"3\r\nabc\r\n2\r\nde\r\n0\r\na: 1\r\nb: 2\r\n\r\n"
        )
        peer.send(CHUNKED + b"3;x=y\r\nabc\r\n")
        await asyncio.sleep(0.01)
        peer.send(b"A\r\n0123456789\r\n0\r\nT: 1\r\nConnection: no\r\nT: 2\r\n\r\n")
        await peer.rest()

    async def main() -> None:
        async with up.serve(script) as client:
            recorder, stream = client.begin(b"POST", end_stream=False)
            stream.send_data(b"abc")
            stream.send_data(b"")
            stream.send_data(b"de")
            stream.send_trailers([(b"a", b"1"), (b"b", b"2"), (b"content-length", b"3")])
            with pytest.raises(StreamStateError):
                stream.send_data(b"late")
            await recorder.ended.wait()
            assert recorder.events == ["headers", "data", "trailers", "complete"]
            assert recorder.body == b"abc0123456789"
            assert recorder.trailers == [(b"t", b"1"), (b"t", b"2")]

    run(main())
