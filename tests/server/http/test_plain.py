"""What is taken as a plain request is what llhttp, and all the strictness around it, would take."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anywasm.server.http import HttpLimits
from anywasm.server.http.parser import RequestParser
from anywasm.server.http.plain import Plain, parse_plain
from anywasm.server.http.request import Request

try:
    from anywasm.server.http import _head as native
except ImportError:
    native = None  # type: ignore[assignment]

Parse = Callable[[bytes, int], "Plain | None"]
WAYS: list[Parse] = [parse_plain, *([] if native is None else [native.parse_plain])]

METHODS = (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST", b"get", b"CONNECT", b"G T")
TARGETS = (b"/", b"/a?b=c", b"/#", b"/a b", b"/\xc3", b"*", b"http://h/", b"/\x01", b"/\x7f", b"")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ")
NAMES = (
    *(b"Host", b"host", b"HOST", b"Connection", b"connection", b"CONNECTION", b"Proxy-Connection"),
    *(
        b"Content-Length",
        b"content-length",
        b"Content-length",
        b"transfer-encoding",
        b"Expect",
        b"Upgrade",
        b"X-A",
        b"x-a",
        b"Accept",
    ),
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
    b"05",
    b"+5",
    b"1" * 30,
)
BODIES = (b"", b"", b"hello", b"\r\n\r\nx", b"A: b\n", bytes(11))
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
    """A request, mostly well-formed, with something inserted or cut out here and there."""
    line = [draw(st.sampled_from(choice)) for choice in (METHODS, TARGETS, VERSIONS)]
    mostly = (b"GET", b"/a", b"HTTP/1.1")
    line = [usual if draw(st.integers(0, 3)) else other for usual, other in zip(mostly, line)]
    parts = [b" ".join(line), *draw(st.lists(fields, max_size=4))]
    if draw(st.booleans()):
        parts.insert(1, b"Host: h")
    body = draw(st.sampled_from(BODIES))
    if body and draw(st.booleans()):
        name = draw(st.sampled_from((b"Content-Length", b"content-length", b"Content-length")))
        parts.append(b"%b: %d" % (name, len(body)))
    data = b"\r\n".join((*parts, b"", body))
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
@example(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: a\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a" * 65 + b": b\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nA: b:  c\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nA:  c\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nA: \r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nA: onnection:\r\nProxy-Connection: x\r\n\r\n")
@example(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab")
@example(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nabc")
@example(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab")
@example(b"POST / HTTP/1.1\r\nHost: h\r\ncontent-length: 002\r\n\r\nab")
@example(b"POST / HTTP/1.1\r\nHost: h\r\ncontent-length:2\r\n\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nx: y\r\n\r\n")
@example(b"\r\n\r\n")
@example(b"\r\n")
@example(b"")
def test_what_is_plain_is_the_same_to_llhttp(data: bytes) -> None:
    plain = parse_plain(data, HttpLimits().max_headers)
    for parse in WAYS:
        assert parse(data, HttpLimits().max_headers) == plain
    if plain is None:
        return
    parser = RequestParser(HttpLimits())
    parser.feed(data)
    method, target, headers, body = plain
    request = parser.events[0]
    assert isinstance(request, Request)
    assert (request.method, request.target, request.headers) == (method, target, headers)
    assert (request.http_version, request.keep_alive) == ("1.1", True)
    assert (request.received, request.expect_continue) == (True, False)
    assert request.has_body is bool(body)
    assert request.content_length == (None if body is None else len(body))
    assert list(parser.events)[1:] == ([body, []] if body else [])
    assert parser.between


@settings(max_examples=1000, deadline=None)
@given(heads(), st.integers(1, 400))
def test_between_requests_one_can_begin(data: bytes, cut: int) -> None:
    parser = RequestParser(HttpLimits())
    assert parser.between
    parser.feed(data[:cut])
    # llhttp refuses what follows a `proxy-connection: close`, which is no end to anybody else.
    if parser.between and b"proxy-connection" not in data.lower():
        parser.events.clear()
        parser.feed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        (request,) = parser.events
        assert isinstance(request, Request)


@pytest.mark.parametrize("parse", WAYS)
@pytest.mark.parametrize(
    "headers",
    [
        b"Host: a",
        b"host: a\r\nAccept: */*\r\nCookie: a=b; c=d",
        b"User-Agent: x (y; z)\r\nHost: a\r\nConnection: keep-alive\r\nX-New: 1\r\nx-new: 2",
        b"Host: a\r\nX-Connection: keep-alive\r\nReferer: http://a/:  \xc3\xa4 b",
        b"Host: a\r\n" + b"a" * 64 + b": " + b"v" * 5000,
    ],
)
def test_usual_requests_are_plain(headers: bytes, parse: Parse) -> None:
    data = b"GET /a?b=c HTTP/1.1\r\n" + headers + b"\r\n\r\n"
    found = parse(data, 100)
    assert found is not None
    assert found[:2] == (b"GET", b"/a?b=c")
    expected = [line.split(b": ", 1) for line in headers.split(b"\r\n")]
    assert found[2] == [(name.lower(), value) for name, value in expected]
    assert found[3] is None


@pytest.mark.parametrize("parse", WAYS)
def test_more_headers_than_allowed_are_not_plain(parse: Parse) -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n"
    assert parse(data, 2) is not None
    assert parse(data, 1) is None
    assert parse(data, 0) is None
    assert parse(data, 1 << 80) is not None


@pytest.mark.parametrize("parse", WAYS)
def test_very_many_headers_are_not_plain(parse: Parse) -> None:
    line = b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert parse(line + b"a: b\r\n" * 127 + b"\r\n", 1000) is not None
    assert parse(line + b"a: b\r\n" * 128 + b"\r\n", 1000) is None


@pytest.mark.parametrize("parse", WAYS)
def test_no_byte_but_a_good_one_is_plain(parse: Parse) -> None:
    """Each byte in each place: of the target, of a name, of a value."""
    head = b"GET /a%b HTTP/1.1\r\nHost: a\r\nx%by: a%bb-long-enough-for-words\r\n\r\n"
    token = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    good = (
        set(range(0x21, 0x7F)) - {ord("#")},
        # A second colon only makes the value begin earlier.
        set(token) | {ord(":")},
        set(range(0x20, 0x7F)) | set(range(0x80, 0x100)),
    )
    for place in range(3):
        for byte in range(256):
            parts = [b"", b"", b""]
            parts[place] = bytes([byte])
            plain = parse(head % tuple(parts), 100) is not None
            assert plain is (byte in good[place]), (place, byte)


@pytest.mark.parametrize("parse", WAYS)
def test_names_are_shared_but_not_without_bound(parse: Parse) -> None:
    def names(sent: bytes) -> list[bytes]:
        found = parse(b"GET / HTTP/1.1\r\nHost: a\r\n" + sent + b": b\r\n\r\n", 100)
        assert found is not None
        return [name for name, _ in found[2]]

    names(b"X-Shared-1")
    assert names(b"X-Shared-1")[1] is names(b"X-Shared-1")[1]
    seen = [names(b"X-Flood-%d" % number)[1] for number in range(6000)]
    assert seen == [b"x-flood-%d" % number for number in range(6000)]
    assert names(b"X-Flood-5999")[1] is not names(b"X-Flood-5999")[1]
    # What was known stays so.
    assert names(b"X-Shared-1")[1] is names(b"X-Shared-1")[1]
    assert parse(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: b\r\n\r\n", 100) is None
