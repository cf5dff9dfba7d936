"""Response status lines and header blocks, checked and encoded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, TypeAlias

from anywasm.server.http.errors import InvalidResponseError
from anywasm.server.http.request import Header

_LENGTH: Final = 1
_CONNECTION: Final = 2
_CODING: Final = 3
_DATE: Final = 4
_SERVER: Final = 5
_OWNED: Final = {
    b"content-length": _LENGTH,
    b"connection": _CONNECTION,
    b"transfer-encoding": _CODING,
    b"date": _DATE,
    b"server": _SERVER,
}
_TOKEN: Final = frozenset(
    b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
# Deleted from a block to find header injection in one pass: all controls but the tab.
_CONTROLS: Final = bytes(byte for byte in range(32) if byte != 9) + b"\x7f"

# What is known of a name: zero for an ordinary one. Names come from programs and are few, but a
# proxied upstream may invent them, hence the bound.
_kinds: dict[bytes, int] = dict(_OWNED)
_MAX_KINDS: Final = 4096

#: The first lines of the responses with a registered status.
STATUS_LINES: Final[dict[int, bytes]] = {
    int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode())
    for status in HTTPStatus
    if status >= 200
}

_INFORMATIONAL: Final = frozenset(status for status in HTTPStatus if status < 200)


#: Header lines without the empty one and without `connection` and `transfer-encoding`; then what
#: the caller's headers say: content length in bytes or None, `connection: close`, whether they
#: have a `date`, and a `server`. A plain tuple, because one is made for every response.
Fields: TypeAlias = "tuple[bytes, int | None, bool, bool, bool]"

_NO_FIELDS: Final[Fields] = (b"", None, False, False, False)


def status_line(status: int) -> bytes:
    """Return the first line of a final response.

    Any status up to 999 passes, 0 too: Envoy lets a guest answer with it.

    Raises:
        InvalidResponseError: The status is informational or out of range.
    """
    line = STATUS_LINES.get(status)
    if line is None:
        if not 0 <= status <= 999 or 100 <= status < 200:
            raise InvalidResponseError(
                f"{status} is no final response status; informational ones go through "
                "send_informational, and 101 through upgrade"
            )
        line = b"HTTP/1.1 %d \r\n" % status
    return line


def encode_fields(headers: Sequence[Header], keep_length: bool = True) -> Fields:
    """Check and encode headers or trailers.

    Args:
        headers: Names and values; names in any case.
        keep_length: Whether a `content-length` is written, if one is given.

    Raises:
        InvalidResponseError: A name is no token, a value holds control characters (header
            injection), or `content-length` is no number or given twice.
    """
    if not headers:
        return _NO_FIELDS
    length: int | None = None
    close = dated = named = False
    parts: list[bytes] = []
    for name, value in headers:
        kind = _kinds.get(name)
        if kind is None:
            kind = _learn(name)
        if kind:
            if kind == _LENGTH:
                if length is not None or not value.isdigit():
                    raise InvalidResponseError(
                        f"content-length {value!r}: one decimal number is needed"
                    )
                length = int(value)
                if not keep_length:
                    continue
            elif kind == _CONNECTION:
                close = close or b"close" in value.lower()
                continue
            elif kind == _CODING:
                continue
            elif kind == _DATE:
                dated = True
            else:
                named = True
        parts += (name, b": ", value, b"\r\n")
    block = b"".join(parts)
    # Four parts and two control characters a line.
    if len(block) - len(block.translate(None, _CONTROLS)) != len(parts) // 2:
        name = next(
            name for name, value in headers if len(value.translate(None, _CONTROLS)) != len(value)
        )
        raise InvalidResponseError(
            f"the value of header {name!r} holds a control character such as CR or LF; remove it"
        )
    return block, length, close, dated, named


def _learn(name: bytes) -> int:
    lower = name.lower()
    if not lower or not _TOKEN.issuperset(name):
        raise InvalidResponseError(f"{name!r} is no header name (RFC 9110, 5.1)")
    kind = _OWNED.get(lower, 0)
    if len(_kinds) < _MAX_KINDS:
        _kinds[name] = kind
    return kind


def informational_head(status: int, headers: Sequence[Header]) -> bytes:
    """Encode a 1xx response.

    Raises:
        InvalidResponseError: The status is not informational, or 101, which `upgrade` sends.
    """
    if not 100 <= status < 200 or status == 101:
        raise InvalidResponseError(f"{status} is no informational status that can be sent")
    phrase = HTTPStatus(status).phrase.encode() if status in _INFORMATIONAL else b""
    block = encode_fields(headers, keep_length=False)[0]
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, phrase, block)


def upgrade_head(headers: Sequence[Header]) -> bytes:
    """Encode the response after which the connection speaks another protocol (RFC 9110, 7.8).

    Raises:
        InvalidResponseError: No header `upgrade` names the protocol, or a header cannot be sent.
    """
    if not any(name.lower() == b"upgrade" for name, _ in headers):
        raise InvalidResponseError("an upgrade needs a header 'upgrade' that names the protocol")
    block = encode_fields(headers, keep_length=False)[0]
    return b"HTTP/1.1 101 Switching Protocols\r\n%bconnection: upgrade\r\n\r\n" % block


def error_body(detail: str) -> bytes:
    """The JSON body of an answer that the codec gives by itself."""
    return json.dumps({"error": detail}).encode()


def error_response(status: int, detail: str, default_lines: bytes) -> bytes:
    """Encode a whole answer, after which the connection is closed, to what is no request."""
    body = error_body(detail)
    return (
        b"%bcontent-type: application/json\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b"
        % (
            status_line(status),
            len(body),
            default_lines,
            body,
        )
    )
