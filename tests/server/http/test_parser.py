"""However the bytes are cut, and whatever they are."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from anywasm.server.http import Headers, HttpExchange, HttpLimits, ProtocolError, buffered
from anywasm.server.http.connection import HttpConnection
from anywasm.server.http.parser import RequestParser
from anywasm.server.http.request import Request
from anywasm.server.http.state import ListenerState

STREAM = (
    b"\r\nGET /a?b=c HTTP/1.1\r\nHost: h\r\nX-Empty:\r\nX: a b \t\r\n\r\n"
    b"POST /l HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789"
    b"POST /u HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 9\r\n\r\nGET / HTT"
    b"GET /v HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\nHost: no\r\nU: 2\r\n\r\n"
    b"GET /z HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
)
BROKEN = STREAM + b"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"

Message = tuple[bytes, bytes, str, Headers, bool, bytes, Headers]


def parse(pieces: list[bytes]) -> tuple[list[Message], list[int]]:
    """Return whole messages with bodies joined, and the statuses of refusals."""
    parser = RequestParser(HttpLimits())
    for piece in pieces:
        parser.feed(piece)
    messages: list[Message] = []
    refusals: list[int] = []
    request: Request | None = None
    body = b""
    for event in parser.events:
        if isinstance(event, ProtocolError):
            refusals.append(event.status)
        elif isinstance(event, Request):
            request, body = event, b""
        elif isinstance(event, bytes):
            assert event
            body += event
        assert request is not None
        if isinstance(event, list) or (isinstance(event, Request) and not event.has_body):
            assert request.received
            trailers = event if isinstance(event, list) else []
            head = (request.method, request.target, request.http_version, request.headers)
            messages.append((*head, request.keep_alive, body, trailers))
    return messages, refusals


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


def test_the_stream_as_one_piece() -> None:
    messages, refusals = parse([STREAM])
    assert refusals == []
    assert [(message[1], message[5]) for message in messages] == [
        (b"/a?b=c", b""),
        (b"/l", b"0123456789"),
        (b"/u", b"GET / HTT"),
        (b"/v", b""),
        (b"/c", b"abc0123456789"),
        (b"/z", b""),
    ]
    assert messages[0][3] == [(b"host", b"h"), (b"x-empty", b""), (b"x", b"a b")]
    assert messages[4][6] == [(b"t", b"1"), (b"u", b"2")]


def test_byte_by_byte() -> None:
    assert parse([bytes([byte]) for byte in BROKEN]) == (parse([STREAM])[0], [400])


@given(st.lists(st.integers(0, len(BROKEN)), max_size=12))
def test_cuts_do_not_matter(places: list[int]) -> None:
    assert parse(cut(BROKEN, places)) == (parse([STREAM])[0], [400])


def test_tiny_chunks_of_one_read_come_as_one_piece() -> None:
    parser = RequestParser(HttpLimits())
    parser.feed(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    parser.feed(b"1\r\na\r\n" * 1000)
    assert [event for event in parser.events if isinstance(event, bytes)] == [b"a" * 1000]


_BITS = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\n", b"Host: h\r\n", b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n",
        b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"\r\n", b"\n", b"abc", b"3\r\n",
        b"0\r\n\r\n", b": ", b"\0", b" HTTP/1.0\r\n", b"HEAD /",
    ]
)  # fmt: skip
_GARBAGE = st.one_of(st.binary(max_size=200), st.lists(_BITS, max_size=20).map(b"".join))


@given(st.lists(_GARBAGE, max_size=5))
def test_garbage_never_raises_and_ends_in_at_most_one_refusal(pieces: list[bytes]) -> None:
    parser = RequestParser(HttpLimits(max_header_bytes=500))
    for piece in pieces:
        parser.feed(piece)
    refusals = [event for event in parser.events if isinstance(event, ProtocolError)]
    assert len(refusals) <= 1
    assert not refusals or parser.events[-1] is refusals[0]


def test_garbage_on_a_socket_is_answered_or_closed() -> None:
    """The connection must end by itself once the client has said all it wants to say."""

    def call(exchange: HttpExchange, headers: Headers, body: bytes, trailers: Headers) -> None:
        exchange.respond(200, [], body)

    async def one(pieces: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        reports: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        state = ListenerState(buffered(call), HttpLimits(), b"anywasm", date=False)
        ours, theirs = socket.socketpair()
        await loop.connect_accepted_socket(
            lambda: cast("asyncio.Protocol", HttpConnection(state)), ours
        )
        reader, writer = await asyncio.open_connection(sock=theirs)
        with contextlib.suppress(OSError):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            writer.write_eof()
        with contextlib.suppress(OSError):
            answer = await asyncio.wait_for(reader.read(), 10)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
        writer.close()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not state.connections
        assert reports == []

    @settings(max_examples=100)
    @given(st.lists(_GARBAGE, max_size=5))
    def check(pieces: list[bytes]) -> None:
        asyncio.run(one(pieces))

    check()
