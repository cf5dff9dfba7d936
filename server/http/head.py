"""The head of a response: what framing it needs, and its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anywasm.server.http.fields import STATUS_LINES, encode_fields, status_line
from anywasm.server.http.request import Header, Request

if TYPE_CHECKING:
    from anywasm.server.http.state import ListenerState

#: How the client is told where the body ends (RFC 9112, 6.3).
NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3


def encode_head(
    request: Request,
    status: int,
    headers: Sequence[Header],
    length: int | None,
    shared: ListenerState,
) -> tuple[bytes, int, int, bool]:
    """Encode the head of the final response to a request.

    Args:
        request: What is answered.
        status: The status.
        headers: The caller's headers.
        length: Bytes of the whole body, None where it is yet to come.
        shared: Has the default headers, and says whether the listener is draining.

    Returns:
        The bytes, the framing, the bytes to come where that is `LENGTH`, and whether the
        connection ends with this response.

    Raises:
        InvalidResponseError: The status or a header cannot be sent.
    """
    line = STATUS_LINES.get(status) or status_line(status)
    block, given, close, dated, named = encode_fields(headers, status != 204)
    framing = LENGTH
    coding = b""
    if status == 204 or status == 304 or request.method == b"HEAD":
        framing = NO_BODY
        if length and status != 204 and given is None:
            coding = b"content-length: %d\r\n" % length
    elif given is not None:
        pass
    elif length is not None:
        given = length
        coding = b"content-length: %d\r\n" % length
    elif request.http_version == "1.1":
        framing = CHUNKED
        coding = b"transfer-encoding: chunked\r\n"
    else:
        framing = UNTIL_CLOSE
        close = True
    if (
        close
        or not request.keep_alive
        or shared.draining
        # With the whole response at hand, the rest of the request will not be read.
        or (length is not None and not request.received)
    ):
        close = True
        coding += b"connection: close\r\n"
    elif request.http_version == "1.0":
        coding += b"connection: keep-alive\r\n"
    if dated or named:
        defaults = b"" if dated else shared.date_line
        if not named:
            defaults += shared.server_line
    else:
        defaults = shared.default_lines
    return b"".join((line, block, defaults, coding, b"\r\n")), framing, given or 0, close
