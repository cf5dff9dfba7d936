"""What must never be taken for a request, or for the end of one, over a real socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[[Any], None]

HOST = b"Host: h\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def get(*lines: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + b"".join(header + b"\r\n" for header in lines) + b"\r\n"


REFUSED = {
    "bare LF": (b"GET / HTTP/1.1\nHost: h\n\n", 400),
    "bare LF after a header": (b"GET / HTTP/1.1\r\nHost: h\n\r\n", 400),
    "bare LF as the empty line": (b"GET / HTTP/1.1\r\nHost: h\r\n\n", 400),
    "bare CR in a value": (get(b"X: a\rb"), 400),
    "obs-fold": (get(b"X: a", b" b"), 400),
    "space before the first header": (b"GET / HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n", 400),
    "space before the colon": (get(b"X : a"), 400),
    "NUL in a value": (get(b"X: a\0b"), 400),
    "control in a value": (get(b"X: a\x01b"), 400),
    "DEL in a value": (get(b"X: a\x7fb"), 400),
    "empty name": (get(b": a"), 400),
    "name with a slash": (get(b"X/Y: a"), 400),
    "name with a high byte": (get(b"X\xff: a"), 400),
    "no colon": (get(b"X"), 400),
    "no host": (get(host=b""), 400),
    "two hosts": (get(b"Host: i"), 400),
    "two hosts in 1.0": (get(b"Host: i", line=b"GET / HTTP/1.0"), 400),
    "CL and TE": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TE and CL": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "differing CL": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "repeated CL": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "CL list": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "signed CL": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "negative CL": (POST + b"Content-Length: -3\r\n\r\nabc", 400),
    "hexadecimal CL": (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    "CL with a space inside": (POST + b"Content-Length: 3 3\r\n\r\nabc", 400),
    "empty CL": (POST + b"Content-Length:\r\n\r\nabc", 400),
    "huge CL": (POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc", 400),
    "TE gzip": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    "TE gzip, chunked": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "TE chunked, gzip": (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
    "TE identity": (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "TE xchunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "TE with a parameter": (POST + b"Transfer-Encoding: chunked;a=1\r\n\r\n0\r\n\r\n", 501),
    "TE with a vertical tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "two TE": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    "TE in 1.0": (
        b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunk size 0x3": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size +3": (CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size with space after": (CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    "chunk size with space before": (CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size with bare LF": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    "chunk size with bare CR": (CHUNKED + b"3\rabc\r\n0\r\n\r\n", 400),
    "chunk data with bare LF": (CHUNKED + b"3\r\nabc\n0\r\n\r\n", 400),
    "chunk longer than said": (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk size overflow": (CHUNKED + b"fffffffffffffffff\r\nabc", 400),
    "chunk size empty": (CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400),
    "chunk size no digit": (CHUNKED + b"g\r\n", 400),
    "LF in a chunk extension": (CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", 400),
    "NUL in a chunk extension": (CHUNKED + b"3;\0\r\nabc\r\n0\r\n\r\n", 400),
    "CL in trailers": (CHUNKED + b"0\r\nContent-Length: 3\r\n\r\nabc", 400),
    "TE in trailers": (CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "bare LF ends trailers": (CHUNKED + b"0\r\n\n", 400),
    "HTTP/2.0": (get(line=b"GET / HTTP/2.0"), 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (get(line=b"GET / HTTP/1.2"), 505),
    "HTTP/3.0": (get(line=b"GET / HTTP/3.0"), 505),
    "HTTP/0.9": (get(line=b"GET / HTTP/0.9"), 505),
    "no version": (get(line=b"GET /"), 505),
    "lower-case version": (get(line=b"GET / http/1.1"), 400),
    "space after the version": (get(line=b"GET / HTTP/1.1 "), 400),
    "tab after the method": (get(line=b"GET\t/ HTTP/1.1"), 400),
    "lower-case method": (get(line=b"get / HTTP/1.1"), 400),
    "unknown method": (get(line=b"FOO / HTTP/1.1"), 400),
    "CONNECT": (get(line=b"CONNECT h:1 HTTP/1.1"), 501),
    "star for GET": (get(line=b"GET * HTTP/1.1"), 400),
    "relative target": (get(line=b"GET foo HTTP/1.1"), 400),
    "fragment": (get(line=b"GET /a#b HTTP/1.1"), 400),
    "high byte in the target": (get(line=b"GET /\x80 HTTP/1.1"), 400),
    "control in the target": (get(line=b"GET /\x01 HTTP/1.1"), 400),
    "ftp target": (get(line=b"GET ftp://h/ HTTP/1.1"), 400),
    "userinfo in the target": (get(line=b"GET http://u@h/ HTTP/1.1"), 400),
    "no authority in the target": (get(line=b"GET http:///x HTTP/1.1"), 400),
    "unknown expectation": (get(b"Expect: the worst"), 417),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_response_and_a_close(run: Run, http: Any, name: str) -> None:
    request, status = REFUSED[name]

    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            # A smuggled request must not be answered either.
            client.send(request + get(line=b"GET /smuggled HTTP/1.1"))
            response = await client.response()
            assert response.status == status
            assert response.values(b"connection") == [b"close"]
            assert response.values(b"content-type") == [b"application/json"]
            assert await client.rest() == b""
            assert server.listener.counters.protocol_errors == 1
            for handler in server.handlers:
                assert handler.exchange.target == b"/"
                assert handler.events[-1].startswith("reset: ")

    run(main())


TAKEN = {
    "absolute form": get(line=b"GET http://h/x HTTP/1.1"),
    "asterisk form": get(line=b"OPTIONS * HTTP/1.1"),
    "empty lines first": b"\r\n\r\n" + get(),
    "1.0 without a host": get(line=b"GET / HTTP/1.0", host=b"Connection: keep-alive\r\n"),
    "1.0 ignores expectations": get(
        b"Connection: keep-alive", b"Expect: x", line=b"GET / HTTP/1.0"
    ),
    "tab and high bytes in a value": get(b"X: a\tb\xff"),
    "TE in capitals": POST + b"Transfer-Encoding: Chunked \r\n\r\n0\r\n\r\n",
    "zero CL": POST + b"Content-Length: 0\r\n\r\n",
    "upgrade to h2c": get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"),
    "upgrade with a body": POST
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 31\r\n\r\n"
    + b"GET /smuggled HTTP/1.1\r\nX: yz\r\n",
    "upgrade with chunks": POST
    + b"Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"1\r\na\r\n0\r\nT: 1\r\n\r\n",
    "upgrade of many": get(b"Connection: Upgrade", b"Upgrade: x") * 200 + get(),
}


@pytest.mark.parametrize("name", TAKEN)
def test_taken_as_one_request(run: Run, http: Any, name: str) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            client.send(TAKEN[name] + get(line=b"GET /next HTTP/1.1"))
            count = 201 if name == "upgrade of many" else 1
            for _ in range(count):
                assert (await client.response()).status == 200
            assert (await client.response()).status == 200
            assert len(server.handlers) == count + 1
            assert server.handlers[-1].exchange.target == b"/next"

    run(main())


def test_body_of_an_ignored_upgrade_is_the_body(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            for name in ("upgrade with a body", "upgrade with chunks"):
                body = (await client.ask(TAKEN[name])).body
                assert body == (b"a" if "chunks" in name else TAKEN[name][-31:])
            assert server.handlers[1].trailers == [(b"t", b"1")]

    run(main())


def test_earlier_requests_are_answered_before_the_refusal(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            client.send(get() + get() + b"nonsense\r\n\r\n")
            assert [(await client.response()).status for _ in range(3)] == [200, 200, 400]
            assert await client.rest() == b""

    run(main())


def test_bad_body_after_the_response_started_cuts(run: Run, http: Any) -> None:
    async def main() -> None:
        async with http.serve(
            on_headers=lambda handler: handler.exchange.send_headers(200)
        ) as server:
            client = await server.connect()
            client.send(CHUNKED + b"3\r\nabc\r\n")
            client.send(b"nonsense\r\n")
            rest = await client.rest()
            assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"400" not in rest
            assert not rest.endswith(b"0\r\n\r\n")
            assert server.handlers[0].events[-1].startswith("reset: malformed request")

    run(main())


@pytest.mark.parametrize(
    ("limits", "request_bytes", "status"),
    [
        ({"max_header_bytes": 1000}, get(b"X: " + b"a" * 1000), 431),
        ({"max_header_bytes": 1000}, get(b"X: " + b"a" * 100_000), 431),
        ({"max_header_bytes": 1000}, get(*[b"X: a"] * 150), 431),
        ({"max_header_bytes": 1000}, b"GET /" + b"a" * 2000, 431),
        ({"max_headers": 3}, get(b"A: 1", b"B: 2", b"C: 3"), 431),
        ({"max_target_bytes": 100}, get(line=b"GET /" + b"a" * 100 + b" HTTP/1.1"), 414),
        ({"max_header_bytes": 1000}, CHUNKED + b"0\r\n" + b"X: a\r\n" * 400 + b"\r\n", 431),
        ({"max_header_bytes": 1000}, CHUNKED + b"1;" + b"e" * 40_000, 400),
        ({"max_headers": 3}, CHUNKED + b"0\r\n" + b"X: a\r\n" * 4 + b"\r\n", 431),
    ],
)
def test_limits(
    run: Run, http: Any, limits: dict[str, int], request_bytes: bytes, status: int
) -> None:
    async def main() -> None:
        async with http.serve(limits=limits) as server:
            client = await server.connect()
            client.send(request_bytes)
            assert (await client.response()).status == status
            assert await client.rest() == b""

    run(main())


def test_just_within_the_limits(run: Run, http: Any) -> None:
    lines = [b"X%d: %b" % (index, b"a" * 500) for index in range(99)]

    async def main() -> None:
        async with http.serve() as server:
            client = await server.connect()
            client.send(get(*lines, line=b"GET /" + b"t" * 8000 + b" HTTP/1.1"))
            assert (await client.response()).status == 200
            assert len(server.handlers[0].exchange.headers) == 100

    run(main())
