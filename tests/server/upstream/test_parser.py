"""However the bytes are cut, and whatever they are."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anywasm.server.upstream import Cluster, FailureReason, UpstreamFailure, UpstreamPool
from anywasm.server.upstream.parser import ResponseHead, ResponseParser

CLUSTER = Cluster("up", path="/s")
H = b"HTTP/1.1 200 OK\r\n"
C = H + b"Transfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
SWITCH = b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
#: Method, whether an upgrade is asked for, and the response.
RESPONSES = [
    (b"GET", False, H + b"X-Empty:\r\nX: a b \t\r\nContent-Length: 10\r\n\r\n0123456789"),
    (b"GET", False, INTERIM + b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n" + H + b"\r\nx"),
    (b"GET", False, C + b"3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n"),
    (b"GET", False, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
    (b"GET", False, H + b"Content-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n"),
    (b"GET", False, H + b"Connection: close\r\nContent-Length: 2\r\n\r\nabc"),
    (b"GET", False, H + b"Content-Length: 2\r\nX : y\r\n\r\nab"),
    (b"GET", False, C + b"3\r\nabc\r\nX\r\n"),
    (b"HEAD", False, H + b"Content-Length: 10\r\n\r\n"),
    (b"HEAD", False, C),
    (b"HEAD", False, H + b"Content-Length: 2\r\n\r\nab"),
    (b"HEAD", False, C + b"2\r\nab\r\n0\r\n\r\n"),
    (b"GET", True, SWITCH + b"HTTP/1.1 raw\r\n\r\n"),
    (b"GET", True, H + b"Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nab"),
]

Parsed = tuple[list[Any], bytes, Any, bool]


def parse(method: bytes, upgrade: bool, pieces: list[bytes]) -> Parsed:
    """Return heads, the joined body, how it ended, and whether the connection is reusable."""
    parser = ResponseParser(CLUSTER)
    parser.begin(method, upgrade)
    for piece in pieces:
        parser.feed(piece)
    reusable = parser.reusable
    parser.finish(True, "closed")
    heads: list[Any] = []
    body = b""
    end: Any = None
    for event in parser.events:
        assert end is None
        if isinstance(event, ResponseHead):
            heads.append((event.status, event.headers, event.end_stream))
            if event.end_stream:
                end = "head"
        elif isinstance(event, bytes):
            assert event
            body += event
        else:
            end = event.reason if isinstance(event, UpstreamFailure) else event
    return heads, body, end, reusable


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a != b]


@pytest.mark.parametrize("case", RESPONSES)
def test_a_response_in_single_bytes_parses_the_same(case: tuple[bytes, bool, bytes]) -> None:
    method, upgrade, data = case
    whole = parse(method, upgrade, [data])
    assert parse(method, upgrade, [data[at : at + 1] for at in range(len(data))]) == whole


@given(st.sampled_from(RESPONSES), st.lists(st.integers(0, 500), max_size=8))
def test_a_response_cut_anywhere_parses_the_same(
    case: tuple[bytes, bool, bytes], places: list[int]
) -> None:
    method, upgrade, data = case
    assert parse(method, upgrade, cut(data, places)) == parse(method, upgrade, [data])


def test_what_the_cases_parse_to() -> None:
    results = [parse(method, upgrade, [data]) for method, upgrade, data in RESPONSES]
    ends = [result[2] for result in results]
    error = FailureReason.PROTOCOL_ERROR
    trailers = [(b"t", b"1")]
    assert ends[:8] == [[], [], trailers, "head", [], [], error, error]
    assert ends[8:] == ["head", "head", "head", "head", [], []]
    assert [n for n, result in enumerate(results) if result[3]] == [0, 2, 3, 8, 9, 13]
    assert results[12][1] == b"HTTP/1.1 raw\r\n\r\n"
    assert [head[0] for head in results[1][0]] == [100, 103, 200]


# Bytes that get further into the parser than arbitrary ones do.
WORDS = (
    *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"200 OK", b"204", b"101", b"100", b"304", b"0", b"5", b"hello"),
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b": ", H, C, INTERIM, SWITCH, b"Upgrade: x"),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked", b"Connection: ", b"close", b"upgrade"),
)
likely = st.lists(st.one_of(st.binary(max_size=8), st.sampled_from(WORDS)), max_size=30)


@settings(max_examples=500)
@given(likely, st.sampled_from([b"GET", b"HEAD"]), st.booleans(), st.lists(st.integers(0, 200)))
def test_garbage_is_an_event_never_an_exception(
    pieces: list[bytes], method: bytes, upgrade: bool, places: list[int]
) -> None:
    data = b"".join(pieces)
    heads, _, end, _ = parse(method, upgrade, cut(data, places))
    # Something always ends it, and a response only ends well with a final head.
    assert end is not None
    if not isinstance(end, FailureReason):
        assert heads
        assert heads[-1][0] >= 200 or (upgrade and heads[-1][0] == 101)


@settings(max_examples=200, deadline=None)
@given(likely)
def test_garbage_over_a_connection_ends_the_stream_once(pieces: list[bytes]) -> None:
    ends: list[Any] = []

    class Handler:
        def __getattr__(self, name: str) -> Any:
            assert not ends
            if name in ("on_upstream_complete", "on_upstream_reset"):
                return lambda *args: ends.append((name, *args))
            return lambda *args: None

    async def main() -> None:
        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for piece in pieces:
                writer.write(piece)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        pool = UpstreamPool(Cluster("up", endpoints=(server.sockets[0].getsockname(),)))
        pool.request(Handler(), b"GET", b"/", [])
        while not ends or pool.connections:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
        pool.close()
        server.close()

    asyncio.run(main())
    assert len(ends) == 1
