"""HTTP/1.1 requests from bytes: llhttp, and the strictness that it lacks. No sockets here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import httptools

from anywasm.server.http.errors import ProtocolError
from anywasm.server.http.request import Headers, Request

if TYPE_CHECKING:
    from anywasm.server.http.limits import HttpLimits

_VERSIONS: Final = "only HTTP/1.0 and HTTP/1.1 are served here"
# llhttp's words for another version and for the two halves of HTTP/2's preface.
_NO_SUCH_VERSION: Final = frozenset(
    ("Invalid HTTP version", "Pause on PRI/Upgrade", "Expected HTTP/2 Connection Preface")
)
_FRAMING: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"expect")
)
# Of no meaning after the body, and dangerous to a reader that merges trailers into headers
# (RFC 9110, 6.5.1). llhttp itself refuses content-length and transfer-encoding there.
_NO_TRAILERS: Final = _FRAMING | {
    b"trailer",
    b"upgrade",
    b"te",
    b"authorization",
    b"cookie",
    b"content-encoding",
}


#: A request head; then, if it has a body, bytes and at last a list of trailers, mostly empty.
Event: TypeAlias = "Request | bytes | Headers | ProtocolError"


class RequestParser:
    """Turns one connection's bytes into events; after a `ProtocolError` event it stays silent.

    llhttp does the tokenizing in its strict mode: bare CR or LF, obs-fold, space before a colon,
    control characters, conflicting or repeated Content-Length and malformed chunks never get past
    it. Host, targets, versions, transfer codings, the Connection header and all sizes are judged
    here. Two leniencies of llhttp remain, both without effect on framing: several spaces between
    the parts of a request line (RFC 9112, 3 allows it), and `RTSP/` or `ICE/` for `HTTP/`.

    Args:
        limits: The sizes to hold.
        new_request: Makes what is emitted for a request head; takes what `Request` takes.

    Attributes:
        events: What was parsed; the reader pops from the left.
        in_head: The last bytes fed end inside a request head.
        between: What is fed next begins a request, so that it may as well be read past this parser.
    """

    __slots__ = (
        "_body",
        "_fed",
        "_headers",
        "_last",
        "_llhttp",
        "_max_header_bytes",
        "_max_headers",
        "_max_target_bytes",
        "_new_request",
        "_raw",
        "_reframing",
        "_request",
        "_target",
        "between",
        "events",
        "in_head",
    )

    def __init__(self, limits: HttpLimits, new_request: Callable[..., Request] = Request) -> None:
        self._max_header_bytes = limits.max_header_bytes
        self._max_headers = limits.max_headers
        self._max_target_bytes = limits.max_target_bytes
        self._new_request = new_request
        self._llhttp: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.events: deque[Event] = deque()
        self.in_head = False
        self.between = True
        self._target = b""
        self._headers: Headers = []
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._fed = 0
        self._reframing = False
        self._raw = False
        self._last = False

    def feed(self, data: bytes | memoryview) -> None:
        """Parse the next bytes; what they hold is appended to `events`.

        The body bytes of one call come as one event, whatever chunks they were cut in.
        """
        llhttp = self._llhttp
        if llhttp is None:
            if self._raw:
                self.events.append(bytes(data))
            return
        self._fed += len(data)
        while True:
            try:
                llhttp.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = memoryview(data)[upgrade.args[0] :]
                llhttp = self._go_on_without_upgrade()
            except httptools.HttpParserError as error:
                self._fail(error)
                return
        if self._body:
            self._flush_body()
        elif self._fed > self._max_header_bytes:
            # No head, body or end came out of all these bytes: a head, a trailer section or a
            # chunk extension without end.
            status = 431 if self.in_head else 400
            self._fail(ProtocolError(status, "no end in sight of a header or chunk line"))
            return
        self.between = not (self.in_head or self._last) and self._request is None

    def switch(self) -> None:
        """Pass on what is fed from now on as it is: it is no HTTP any more."""
        self._llhttp = None
        self._raw = True
        self.between = False

    def close(self) -> None:
        """Forget everything; what is fed from now on is dropped."""
        self._llhttp = None
        self._raw = False
        self.in_head = self.between = False
        self._body = []
        self.events.clear()

    def _flush_body(self) -> None:
        body = self._body
        self.events.append(body[0] if len(body) == 1 else b"".join(body))
        self._body = []
        self._fed = 0

    def _fail(self, error: Exception) -> None:
        cause = error.__context__
        if isinstance(cause, ProtocolError):
            error = cause
        elif not isinstance(error, ProtocolError):
            reason = str(error)
            if reason in _NO_SUCH_VERSION:
                error = ProtocolError(505, _VERSIONS)
            else:
                error = ProtocolError(400, f"malformed request: {reason}")
        if self._body:
            self._flush_body()
        self.events.append(error)
        self._llhttp = None
        self.in_head = self.between = False

    def _go_on_without_upgrade(self) -> httptools.HttpRequestParser:
        # Until a handler agrees to switch, the request is an ordinary one (RFC 9110, 7.8). llhttp,
        # though, takes everything after the head for the new protocol. A head with only the framing
        # makes a new parser read the body for what it is.
        self._llhttp = llhttp = httptools.HttpRequestParser(self)
        if self._reframing and self._request is not None:
            length = self._request.content_length
            framing = (
                b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
            )
            llhttp.feed_data(b"POST / HTTP/1.1\r\n" + framing + b"\r\n\r\n")
        return llhttp

    # --- called by llhttp -------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request's first byte was seen."""
        self.in_head = True
        if not self._reframing:
            self._target = b""
            self._headers = []

    def on_url(self, url: bytes) -> None:
        """The target, or a piece of it."""
        if not self._reframing:
            self._target += url
            if len(self._target) > self._max_target_bytes:
                raise ProtocolError(414, "request target too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header or trailer."""
        if not self._reframing:
            # llhttp leaves the optional whitespace after a value.
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is whole: judge it and emit it."""
        self.in_head = False
        if self._reframing:
            self._reframing = False
            self._headers = []
            return
        llhttp = self._llhttp
        assert llhttp is not None
        version = llhttp.get_http_version()
        is_11 = version == "1.1"
        if not is_11 and version != "1.0":
            raise ProtocolError(505, _VERSIONS)
        headers = self._headers
        if self._fed > self._max_header_bytes or len(headers) > self._max_headers:
            self._check_size(headers, len(self._target))
        hosts = 0
        plain = is_11
        for name, _ in headers:
            if name in _FRAMING:
                if name == b"host":
                    hosts += 1
                else:
                    plain = False
        if hosts != 1 and (hosts or is_11):
            raise ProtocolError(400, "exactly one host header is needed")
        method = llhttp.get_method()
        target = self._target
        if not target.startswith(b"/") or b"#" in target:
            _check_target(method, target)
        self._fed = 0
        if plain:
            self.events.append(
                self._new_request(method, target, version, headers, True, None, False, False)
            )
            return
        keep_alive, length, has_body, expect_continue = self._judge_framing(is_11, headers)
        self._last = not keep_alive
        request = self._new_request(
            method, target, version, headers, keep_alive, length, has_body, expect_continue
        )
        self.events.append(request)
        if has_body:
            self._request = request
            self._headers = []
            self._reframing = llhttp.should_upgrade()

    def _judge_framing(self, is_11: bool, headers: Headers) -> tuple[bool, int | None, bool, bool]:
        length: int | None = None
        chunked = expect_continue = close = False
        keep_alive = is_11
        for name, value in headers:
            if name not in _FRAMING:
                continue
            if name == b"content-length":
                length = int(value)
            elif name == b"transfer-encoding":
                if not is_11:
                    raise ProtocolError(400, "transfer-encoding needs HTTP/1.1")
                if value.lower() != b"chunked":
                    raise ProtocolError(501, "the only transfer-encoding supported is chunked")
                chunked = True
            elif name == b"connection":
                options = [option.strip() for option in value.lower().split(b",")]
                keep_alive = keep_alive or b"keep-alive" in options
                close = close or b"close" in options
            elif name == b"expect" and is_11:
                if value.lower() != b"100-continue":
                    raise ProtocolError(417, "the only expectation supported is 100-continue")
                expect_continue = True
        has_body = chunked or bool(length)
        return keep_alive and not close, length, has_body, expect_continue and has_body

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if body:  # llhttp reports an empty piece when it is fed nothing, as after an upgrade
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The body and any trailers are whole; comes right after the head where there is none."""
        request = self._request
        if request is None or self._reframing:
            return
        self._request = None
        if self._body:
            self._flush_body()
        trailers = self._headers
        if trailers:
            self._check_size(trailers, 0)
            trailers = [trailer for trailer in trailers if trailer[0] not in _NO_TRAILERS]
        request.received = True
        self.events.append(trailers)
        self._fed = 0

    def _check_size(self, headers: Headers, size: int) -> None:
        # 4: the colon, the space and the line end.
        size += sum(len(name) + len(value) + 4 for name, value in headers)
        if size > self._max_header_bytes:
            raise ProtocolError(431, "request header fields too large")
        if len(headers) > self._max_headers:
            raise ProtocolError(431, "too many request header fields")


def _check_target(method: bytes, target: bytes) -> None:
    if method == b"CONNECT":
        raise ProtocolError(501, "CONNECT is not supported")
    if target == b"*" and method == b"OPTIONS":
        return
    scheme, _, rest = target.partition(b"://")
    authority = rest.partition(b"/")[0].partition(b"?")[0]
    if (
        b"#" in target  # never sent by a client (RFC 9112, 3.2); Envoy refuses it too
        or scheme.lower() not in (b"http", b"https")
        or not authority
        or b"@" in authority
    ):
        raise ProtocolError(400, "malformed request target")
