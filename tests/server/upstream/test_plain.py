"""Heads in C, in Python, and as llhttp and all the strictness around it take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anywasm.core.errors import AnyWasmError
from anywasm.server.upstream import Cluster, codec, head, plain
from anywasm.server.upstream.parser import ResponseHead, ResponseParser

CLUSTER = Cluster("up", path="/s")
LINES = (
    *(b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 299 ", b"HTTP/1.1 599 x\t"),
    *(b"HTTP/1.1 200", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 x", b"HTTP/1.1 304 x", b"HTTP/1.1 199 x"),
    *(b"HTTP/1.1 600 x", b"HTTP/1.1 0200 x", b"http/1.1 200 OK", b"HTTP/1.1  200 OK", b""),
    *(b"HTTP/1.1 200 \xc3", b"HTTP/1.1 101 x", b"HTTP/1.1 2x0 x", b"HTTP/1.1 200\tOK"),
)
NAMES = (
    *(b"Content-Length", b"content-length", b"CONTENT-LENGTH", b"Connection", b"connection"),
    *(b"Proxy-Connection", b"Transfer-Encoding", b"Upgrade", b"Expect", b"Host", b"X-A", b"x-a"),
    *(b"", b"a b", b"a\t", b"x:", b"\xc3", b"(x)", b"Host ", b"n" * 64, b"n" * 65),
)
VALUES = (
    *(b"5", b"0", b"05", b"+5", b"1234567890", b"", b"h", b" h ", b"a:b", b"a: b", b"a:  b"),
    *(b"keep-alive", b"close", b"chunked", b"\t", b"\xc3"),
)
JUNK = (
    *(b"\r", b"\n", b"\0", b"\x80", b"\t", b" ", b":", b"\r\n", b"\r\n\r\n"),
    b"HTTP/1.1 200 OK\r\n",
)

starts = st.tuples(st.sampled_from(NAMES), st.sampled_from((b":", b": ", b":  ", b" :", b"")))
fields = st.builds(lambda start, value: b"".join((*start, value)), starts, st.sampled_from(VALUES))


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A response, mostly well-formed, with something inserted or cut out here and there."""
    line = draw(st.sampled_from(LINES)) if draw(st.booleans()) else LINES[0]
    parts = [line, *draw(st.lists(fields, max_size=4))]
    if draw(st.booleans()):
        parts.insert(1, b"content-length: 5")
    data = b"\r\n".join((*parts, b"", draw(st.sampled_from((b"", b"hello", b"\r\n\r\nx", b"hi")))))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.sampled_from(JUNK)) + data[at + draw(st.integers(0, 2)) :]
    return data


@settings(max_examples=1500, deadline=None)
@given(responses())
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nAccept\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n folded: x\r\n\r\n")
@example(b"HTTP/1.1 200 OK\n\rcontent-length: 0\r\n\r\n")
@example(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nProxy-Connection:5\r\n\r\nhello")
def test_what_is_plain_is_the_same_to_llhttp(data: bytes) -> None:
    limits = CLUSTER.max_headers, CLUSTER.max_header_bytes
    found = plain.parse_plain(data, *limits)
    assert codec.parse_plain(data, *limits) == found
    if found is None:
        return
    told = ResponseParser(CLUSTER)
    told.begin(b"GET", False)
    told.feed(data)
    status, headers, body = found
    first, *rest = told.events
    assert isinstance(first, ResponseHead)
    assert (first.status, first.headers, first.end_stream) == (status, headers, not body)
    assert rest == ([body, []] if body else [])
    assert told.reusable
    whole = ResponseParser(CLUSTER)
    whole.begin(b"GET", False)
    assert whole.plain(data) == found
    assert whole.reusable


@pytest.mark.parametrize("parse", [plain.parse_plain, codec.parse_plain])
@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5",
        b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length:5\r\nset-cookie: a=b; c=d",
        b"Server: nginx/1\r\nConnection: keep-alive\r\ncontent-length: 5\r\nX-New: 1\r\nx-new: 2",
    ],
)
def test_usual_responses_are_plain(parse: Callable[..., Any], headers: bytes) -> None:
    data = b"HTTP/1.1 404 Not Found\r\n" + headers + b"\r\n\r\nhello"
    expected = [line.split(b":", 1) for line in headers.split(b"\r\n")]
    pairs = [(name.lower(), value.removeprefix(b" ")) for name, value in expected]
    assert parse(data, 100, 60_000) == (404, pairs, b"hello")


@pytest.mark.parametrize("parse", [plain.parse_plain, codec.parse_plain])
def test_more_or_longer_headers_than_allowed_are_not_plain(parse: Callable[..., Any]) -> None:
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: b\r\n"
    assert parse(start + b"\r\n", 2, len(start)) is not None
    assert parse(start + b"\r\n", 1, len(start)) is None
    assert parse(start + b"\r\n", 2, len(start) - 1) is None
    many = b"a: b\r\n" * 127
    assert parse(start + many + b"\r\n", 1000, 60_000) is None
    assert parse(start + many[6:] + b"\r\n", 1000, 60_000) is not None


def test_the_rest_of_a_response_is_not_taken_for_a_whole_one() -> None:
    parser = ResponseParser(CLUSTER)
    parser.begin(b"GET", False)
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole))
    assert parser.plain(whole) is None
    parser.feed(whole)
    assert list(parser.events)[1:] == [whole, []]


def test_the_answer_to_a_head_is_not_plain() -> None:
    parser = ResponseParser(CLUSTER)
    parser.begin(b"HEAD", False)
    assert parser.plain(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") is None


# --- requests ------------------------------------------------------------------------------------

REQUEST_NAMES = (
    *(b"host", b"x-a", b"X-A", b"connection", b"Content-Length", b"TRANSFER-ENCODING"),
    *(b"", b"a b", b"\xc3", b"x" * 100),
)
REQUEST_VALUES = (
    *(b"h", b"", b"5", b"0", b"close", b"chunked", b"a\tb", b"\t", b"a\r\nb: c", b"\x7f"),
)
headers = st.lists(st.tuples(st.sampled_from(REQUEST_NAMES), st.sampled_from(REQUEST_VALUES)))


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from((b"GET", b"HEAD", b"DELETE", b"POST", b"OPTIONS", b"CONNECT", b"", b"G T")),
    st.sampled_from((b"/", b"/a?b=c", b"*", b"/\xc3", b"", b"/a b", b"/\x7f", b"/\r\n")),
    headers,
    st.booleans(),
    st.booleans(),
)
def test_requests_are_encoded_alike(
    method: bytes, target: bytes, fields: Any, end_stream: bool, upgrade: bool
) -> None:
    def encode(encoder: Callable[..., Any]) -> Any:
        try:
            return encoder(method, target, fields, end_stream, upgrade)
        except AnyWasmError as error:
            return type(error), str(error)

    assert encode(codec.encode_request_head) == encode(head.encode_request_head)
