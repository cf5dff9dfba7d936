from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.server.http import Headers, HttpExchange, buffered

Run = Callable[[Any], None]


def test_whole_request_in_one_call(run: Run, http: Any) -> None:
    calls: list[tuple[bytes, Headers, bytes, Headers]] = []

    def call(exchange: HttpExchange, headers: Headers, body: bytes, trailers: Headers) -> None:
        calls.append((exchange.target, headers, body, trailers))
        exchange.respond(200, [], body[::-1])

    async def main() -> None:
        async with http.serve(factory=buffered(call)) as server:
            client = await server.connect()
            assert (await client.ask(b"GET /g HTTP/1.1\r\nHost: h\r\n\r\n")).body == b""
            head = b"POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert (await client.ask(head + b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")).body == b"fedcba"
            assert (await client.ask(head + b"1\r\na\r\n0\r\nX: y\r\n\r\n")).body == b"a"

    run(main())
    te = (b"transfer-encoding", b"chunked")
    assert calls == [
        (b"/g", [(b"host", b"h")], b"", []),
        (b"/p", [(b"host", b"h"), te], b"abcdef", []),
        (b"/p", [(b"host", b"h"), te], b"a", [(b"x", b"y")]),
    ]


def test_answer_later(run: Run, http: Any) -> None:
    def call(exchange: HttpExchange, headers: Headers, body: bytes, trailers: Headers) -> None:
        asyncio.get_running_loop().call_later(0.01, exchange.respond, 200, [], b"later")

    async def main() -> None:
        async with http.serve(factory=buffered(call)) as server:
            client = await server.connect()
            for _ in range(2):
                assert (await client.ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")).body == b"later"

    run(main())


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\n\r\n",
        b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    ],
)
def test_too_long_a_body(run: Run, http: Any, framing: bytes) -> None:
    def call(exchange: HttpExchange, headers: Headers, body: bytes, trailers: Headers) -> None:
        raise AssertionError("must not be called")

    async def main() -> None:
        async with http.serve(factory=buffered(call), limits={"max_body_bytes": 4}) as server:
            client = await server.connect()
            response = await client.ask(b"POST / HTTP/1.1\r\nHost: h\r\n" + framing)
            assert response.status == 413
            assert response.body == b'{"error": "the request body is longer than 4 bytes"}'

    run(main())


def test_exception_of_the_call(run: Run, http: Any) -> None:
    def call(exchange: HttpExchange, headers: Headers, body: bytes, trailers: Headers) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with http.serve(factory=buffered(call)) as server:
            client = await server.connect()
            assert (await client.ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")).status == 500

    run(main())
