"""The head of a request: what framing it needs, and its bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from anywasm.server.http.errors import InvalidResponseError
from anywasm.server.http.fields import Fields, encode_fields
from anywasm.server.http.request import Header
from anywasm.server.upstream.errors import InvalidRequestError

#: How the upstream is told where the body ends (RFC 9112, 6.3).
NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2

_is_method = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
# A space or a control character would end the target and begin something of the caller's choice.
_is_target = re.compile(rb"[!-~\x80-\xff]+").fullmatch
# Requests of these methods have no body unless they say so; of others its absence is spelled out
# (RFC 9110, 8.6). The list is Envoy's.
_BODILESS: Final = frozenset((b"GET", b"HEAD", b"DELETE", b"TRACE"))


def encode_request_head(
    method: bytes, target: bytes, headers: Sequence[Header], end_stream: bool, upgrade: bool
) -> tuple[bytes, int, int, bool]:
    """Encode the head of a request.

    Args:
        method: The method.
        target: Path and query, or `*`.
        headers: The caller's headers, `host` among them.
        end_stream: There is no body.
        upgrade: Ask for the protocol that the caller's `upgrade` header names; needs
            `end_stream`.

    Returns:
        The bytes, the framing, the bytes to come where that is `LENGTH`, and whether the upstream
        is told that the connection ends here.

    Raises:
        InvalidRequestError: A part cannot be sent.
    """
    if not _is_method(method) or method == b"CONNECT":
        raise InvalidRequestError(f"{method!r} is no method that can be sent upstream")
    if not _is_target(target):
        raise InvalidRequestError(
            f"{target!r} is no request target; spaces and controls must be percent-encoded"
        )
    if upgrade and not end_stream:
        raise InvalidRequestError("a request that asks for another protocol cannot have a body")
    block, length, close, _, _ = encode_request_fields(headers)
    framing = NO_BODY
    coding = b""
    if length is not None:
        if not end_stream:
            framing = LENGTH
        elif length:
            raise InvalidRequestError(f"content-length {length} on a request without a body")
    elif not end_stream:
        framing = CHUNKED
        coding = b"transfer-encoding: chunked\r\n"
    elif method not in _BODILESS:
        coding = b"content-length: 0\r\n"
    if upgrade:
        coding += b"connection: upgrade\r\n"
    elif close:
        coding += b"connection: close\r\n"
    head = b"".join((method, b" ", target, b" HTTP/1.1\r\n", block, coding, b"\r\n"))
    return head, framing, length or 0, close


def encode_request_fields(headers: Sequence[Header], keep_length: bool = True) -> Fields:
    """Check and encode headers or trailers of a request, without `connection` and codings.

    Raises:
        InvalidRequestError: One cannot be sent.
    """
    try:
        return encode_fields(headers, keep_length)
    except InvalidResponseError as error:
        raise InvalidRequestError(str(error)) from error
