"""HTTP/1.1 responses from bytes: llhttp, and the strictness that it lacks. No sockets here."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

import httptools

from anywasm.core.errors import AnyWasmError
from anywasm.server.http.request import Headers
from anywasm.server.upstream.codec import parse_plain
from anywasm.server.upstream.failure import FailureReason, UpstreamFailure

if TYPE_CHECKING:
    from anywasm.server.upstream.cluster import Cluster

_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection"))
# Of no meaning after the body, and dangerous to a reader that merges trailers into headers
# (RFC 9110, 6.5.1). llhttp itself refuses content-length and transfer-encoding there.
_NO_TRAILERS: Final = _FRAMING | {b"trailer", b"upgrade", b"te", b"set-cookie", b"content-encoding"}
_END_OF_HEAD: Final = b"\r\n\r\n"

# States: no response is due; its head is; its body is; it was read; raw bytes after a 101; useless.
_IDLE: Final = 0
_HEAD: Final = 1
_BODY: Final = 2
_DONE: Final = 3
_RAW: Final = 4
_DEAD: Final = 5


class ResponseHead:
    """A parsed response head, final or informational.

    Attributes:
        status: From 100 to 999.
        headers: Lower-cased names with values, in the order received, duplicates kept.
        end_stream: There is no body.
    """

    __slots__ = ("end_stream", "headers", "status")

    def __init__(self, status: int, headers: Headers, end_stream: bool) -> None:
        self.status = status
        self.headers = headers
        self.end_stream = end_stream


#: Heads; then, if there is a body, bytes and at last a list of trailers, mostly empty. After a
#: 101 the bytes are raw, and the empty list is the end of the upstream's direction.
Event: TypeAlias = "ResponseHead | bytes | Headers | UpstreamFailure"


class _RefusedError(AnyWasmError):
    """Leaves llhttp's callbacks."""


class ResponseParser:
    """Turns one connection's bytes into events; after an `UpstreamFailure` event it stays silent.

    llhttp does the tokenizing in its strict mode; versions, statuses, transfer codings, the
    `Connection` header and all sizes are judged here, as for requests.

    Attributes:
        events: What was parsed; the reader pops from the left.
        reusable: The response was complete, nothing came after it, and the upstream keeps the
            connection open.
    """

    __slots__ = (
        "_asks_upgrade",
        "_body",
        "_fed",
        "_fresh",
        "_headers",
        "_is_head",
        "_llhttp",
        "_max_header_bytes",
        "_max_headers",
        "_misled",
        "_state",
        "_until_close",
        "events",
        "reusable",
    )

    def __init__(self, cluster: Cluster) -> None:
        self._max_header_bytes = cluster.max_header_bytes
        self._max_headers = cluster.max_headers
        self._llhttp = httptools.HttpResponseParser(self)
        self.events: deque[Event] = deque()
        self.reusable = False
        self._state = _IDLE
        self._is_head = self._asks_upgrade = self._until_close = False
        self._misled = False  # llhttp expects a body, though the request was a HEAD
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._fed = 0
        self._fresh = False  # nothing has come of the response that is due

    def begin(self, method: bytes, asks_upgrade: bool) -> None:
        """Expect the response to a request; the one before must have been `reusable`."""
        if self._misled:
            self._llhttp = httptools.HttpResponseParser(self)
            self._misled = False
        self._is_head = method == b"HEAD"
        self._asks_upgrade = asks_upgrade
        self._state = _HEAD
        self.reusable = False
        self._fresh = True

    def plain(self, data: bytes) -> tuple[int, Headers, bytes] | None:
        """Status, headers and body, if the next bytes are all of a plain response.

        `feed` them otherwise; they are as they were then.
        """
        if not self._fresh or self._is_head:
            return None
        found = parse_plain(data, self._max_headers, self._max_header_bytes)
        if found is not None:
            self._state = _DONE
            self._fresh = False
            self.reusable = True
        return found

    def emit(self, status: int, headers: Headers, body: bytes) -> None:
        """Append a response that `plain` has found to `events`, as `feed` would have."""
        self.events.append(ResponseHead(status, headers, not body))
        if body:
            self.events += (body, [])

    def feed(self, data: bytes) -> None:
        """Parse the next bytes; what they hold is appended to `events`.

        The body bytes of one call come as one event, whatever chunks they were cut in.
        """
        if self._state >= _RAW:
            if self._state == _RAW:
                self.events.append(data)
            return
        if self._fresh:
            self._fresh = False
            self._headers = []
            self._fed = 0
        self._fed += len(data)
        try:
            self._llhttp.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._state = _RAW
            if rest := data[upgrade.args[0] :]:
                self.events.append(rest)
            return
        except httptools.HttpParserError as error:
            self._fail(error)
            return
        if self._body:
            self._flush_body()
        elif self._fed > self._max_header_bytes:
            self._fail(_RefusedError("no end in sight of a header or chunk line"))
        if self._misled and not _END_OF_HEAD.endswith(data[-4:]):
            # What follows the head is not a body, so it is nothing that belongs here. (The last
            # bytes of a head are those of its end, or of that end's last piece.)
            self.reusable = False

    def finish(self, clean: bool, detail: str) -> None:
        """Take the end of the connection into account.

        Args:
            clean: The upstream said that it has nothing more to send.
            detail: What happened, for the failure where that is no good end.
        """
        state, self._state = self._state, _DEAD
        self.reusable = False
        if clean and (state == _RAW or (state == _BODY and self._until_close)):
            self.events.append([])
        elif state in (_HEAD, _BODY, _RAW):
            self.events.append(UpstreamFailure(FailureReason.CONNECTION_TERMINATION, detail))

    def _flush_body(self) -> None:
        body = self._body
        self.events.append(body[0] if len(body) == 1 else b"".join(body))
        self._body = []
        self._fed = 0

    def _fail(self, error: Exception) -> None:
        self.reusable = False
        state, self._state = self._state, _DEAD
        if state == _DONE:
            return  # the response was whole, only what came after it was not
        if self._body:
            self._flush_body()
        cause = error.__context__ if isinstance(error.__context__, _RefusedError) else error
        self.events.append(UpstreamFailure(FailureReason.PROTOCOL_ERROR, str(cause)))

    # --- called by llhttp -------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A response's first byte was seen."""
        if self._state != _HEAD:
            raise _RefusedError("a response to no request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One whole header or trailer."""
        # llhttp leaves the optional whitespace after a value.
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head is whole: judge it and emit it."""
        version = self._llhttp.get_http_version()
        is_11 = version == "1.1"
        if not is_11 and version != "1.0":
            raise _RefusedError(f"HTTP version {version}")
        status = self._llhttp.get_status_code()
        if status < 100:
            raise _RefusedError(f"status {status}")
        headers = self._headers
        if self._fed > self._max_header_bytes or len(headers) > self._max_headers:
            self._check_size(headers)
        keep_alive, chunked, length = _judge_framing(is_11, headers)
        if (status < 200 or status == 204) and (chunked or length):
            # No content can follow these (RFC 9112, 6.3), but someone else may read one.
            raise _RefusedError(f"a body announced by a {status} response")
        self._fed = 0
        if status < 200:
            if status == 101 and not self._asks_upgrade:
                raise _RefusedError("a protocol switch that was not asked for")
            self._headers = []
            self.events.append(ResponseHead(status, headers, False))
            return
        has_body = not (status == 204 or status == 304 or length == 0)
        if self._is_head and has_body:
            has_body = False
            self._misled = True
        self._until_close = has_body and not chunked and length is None
        self.reusable = keep_alive and not self._until_close
        self.events.append(ResponseHead(status, headers, not has_body))
        if has_body:
            self._state = _BODY
            self._headers = []
        else:
            self._state = _DONE

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._misled:
            self.reusable = False
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """The body and any trailers are whole; comes right after the head where there is none."""
        if self._state == _BODY:
            if self._body:
                self._flush_body()
            trailers = self._headers
            if trailers:
                self._check_size(trailers)
                trailers = [trailer for trailer in trailers if trailer[0] not in _NO_TRAILERS]
            self._state = _DONE
            self._fed = 0
            self.events.append(trailers)
        elif self._misled:
            self.reusable = False

    def _check_size(self, headers: Headers) -> None:
        # 4: the colon, the space and the line end.
        size = sum(len(name) + len(value) + 4 for name, value in headers)
        if size > self._max_header_bytes or len(headers) > self._max_headers:
            raise _RefusedError("too many or too long header fields")


def _judge_framing(is_11: bool, headers: Headers) -> tuple[bool, bool, int | None]:
    """Return whether the connection stays, whether the body is chunked, and its length if told."""
    length: int | None = None
    chunked = close = False
    keep_alive = is_11
    for name, value in headers:
        if name not in _FRAMING:
            continue
        if name == b"content-length":
            length = int(value)
        elif name == b"transfer-encoding":
            if not is_11:
                raise _RefusedError("transfer-encoding in HTTP/1.0")
            if chunked or value.lower() != b"chunked":
                raise _RefusedError("the only transfer-encoding supported is chunked, once")
            chunked = True
        else:
            options = [option.strip() for option in value.lower().split(b",")]
            keep_alive = keep_alive or b"keep-alive" in options
            close = close or b"close" in options
    return keep_alive and not close, chunked, length
