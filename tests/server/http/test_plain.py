"""What is taken as a plain request is what llhttp, and all the strictness around it, would take."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anywasm.server.http import HttpLimits
from anywasm.server.http.parser import RequestParser
from anywasm.server.http.plain import parse_plain
from anywasm.server.http.request import Request

METHODS = (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST", b"get", b"CONNECT", b"G T")
TARGETS = (b"/", b"/a?b=c", b"/#", b"/a b", b"/\xc3", b"*", b"http://h/", b"/\x01", b"/\x7f", b"")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ")
NAMES = (
    *(b"Host", b"host", b"HOST", b"Connection", b"connection", b"CONNECTION", b"Proxy-Connection"),
    *(b"Content-Length", b"transfer-encoding", b"Expect", b"Upgrade", b"X-A", b"x-a", b"Accept"),
    *(b"", b"a b", b"a\t", b"x:", b"\xc3", b"(x)", b"Host "),
)
VALUES = (
    b"h",
    b"",
    b" h ",
    b"a:b",
    b"a: b",
    b"keep-alive",
    b"close",
    b"5",
    b"0",
    b"chunked",
    b"\t",
)
JUNK = (
    b"\r",
    b"\n",
    b"\0",
    b"\x80",
    b"\t",
    b" ",
    b":",
    b"\r\n",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
)

lines = st.tuples(st.sampled_from(NAMES), st.sampled_from((b":", b": ", b":  ", b" :", b"")))
fields = st.builds(lambda start, value: b"".join((*start, value)), lines, st.sampled_from(VALUES))


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """A head, mostly well-formed, with something inserted or cut out here and there."""
    line = [draw(st.sampled_from(choice)) for choice in (METHODS, TARGETS, VERSIONS)]
    mostly = (b"GET", b"/a", b"HTTP/1.1")
    line = [usual if draw(st.integers(0, 3)) else other for usual, other in zip(mostly, line)]
    parts = [b" ".join(line), *draw(st.lists(fields, max_size=4))]
    if draw(st.booleans()):
        parts.insert(1, b"Host: h")
    data = b"\r\n".join((*parts, b"", b""))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.sampled_from(JUNK)) + data[at + draw(st.integers(0, 2)) :]
    return data


@settings(max_examples=1000)
@given(heads())
@example(b"GET / HTTP/1.1\r\nHost: h\r\nAccept\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\n folded: x\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nX-Host: i\r\nHOST: j\r\n\r\n")
@example(b"GET / HTTP/1.1\rjunk\nHost: h\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rjunk\nC: d\r\n\r\n")
def test_what_is_plain_is_the_same_to_llhttp(data: bytes) -> None:
    plain = parse_plain(data, HttpLimits().max_headers)
    if plain is None:
        return
    parser = RequestParser(HttpLimits())
    parser.feed(data)
    (request,) = parser.events
    assert isinstance(request, Request)
    assert (request.method, request.target, request.headers) == plain
    assert (request.http_version, request.keep_alive) == ("1.1", True)
    assert not request.has_body
    assert request.content_length is None
    assert not parser.in_head


@pytest.mark.parametrize(
    "headers",
    [
        b"Host: a",
        b"host: a\r\nAccept: */*\r\nCookie: a=b; c=d",
        b"User-Agent: x (y; z)\r\nHost: a\r\nConnection: keep-alive\r\nX-New: 1\r\nx-new: 2",
    ],
)
def test_usual_requests_are_plain(headers: bytes) -> None:
    data = b"GET /a?b=c HTTP/1.1\r\n" + headers + b"\r\n\r\n"
    found = parse_plain(data, 100)
    assert found is not None
    assert found[:2] == (b"GET", b"/a?b=c")
    expected = [line.split(b": ", 1) for line in headers.split(b"\r\n")]
    assert found[2] == [(name.lower(), value) for name, value in expected]


def test_more_headers_than_allowed_are_not_plain() -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n"
    assert parse_plain(data, 2) is not None
    assert parse_plain(data, 1) is None
