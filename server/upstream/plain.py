"""The response that most are, read without llhttp: head and body in one piece, a length that fits.

llhttp calls back into Python for every part of a message; a few passes in C over a whole head cost
less. What is taken here is a subset of what `ResponseParser` takes, with the same result. Whatever
is rare, wrong or hostile is left to it. `codec` has the same in C.
"""

from __future__ import annotations

import re
from typing import Final

from anywasm.server.http.request import Headers

# A 204 or 304 has no body, whatever its length says.
_status_line = re.compile(rb"HTTP/1\.1 (?!204|304)([2-5][0-9][0-9]) [ -~]*\r").match
_fields: Final = re.compile(rb"\n(.+?): ?(.*)\r").findall
_is_name = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}").fullmatch
_CONTROLS: Final = bytes(range(32)) + b"\x7f"
#: What says something about the body or the connection (to llhttp `proxy-connection` does, too).
_FRAMING: Final = frozenset(
    (b"content-length", b"transfer-encoding", b"connection", b"proxy-connection", b"upgrade")
)
# However many the cluster allows, and however long the body may be.
_MOST_FIELDS: Final = 128
_MOST_DIGITS: Final = 9

# Names as sent, and in lower case. Upstreams use few but may invent more, hence the bound.
_names: Final[dict[bytes, bytes]] = {}
_MAX_NAMES: Final = 4096


def parse_plain(
    data: bytes, max_headers: int, max_header_bytes: int
) -> tuple[int, Headers, bytes] | None:
    """Status, headers and body of a response that is all of `data`; None for anything else.

    None says nothing about `data`: what is not plain may still be a good response. Not for the
    answer to a HEAD, whose length is that of no body.

    Args:
        data: What has come since the request.
        max_headers: A response with more is not plain.
        max_header_bytes: A head that is longer is not plain.
    """
    end = data.find(b"\r\n\r\n") + 2
    if not 2 <= end <= max_header_bytes:
        return None
    head = data[:end]
    found = _fields(head)
    count = len(found)
    line = _status_line(head)
    if (
        line is None
        or count > max_headers
        or count > _MOST_FIELDS
        # Every line but the first is a header, and all controls are whole line ends.
        or head.count(b"\r\n") != count + 1
        or len(head.translate(None, _CONTROLS)) != end - 2 * count - 2
        # Whitespace around a value, which would have to be removed. (`in` is slower for bytes: it
        # looks for a number first.)
        or head.find(b" \r", line.end()) >= 0
        or (head.find(b":  ") >= 0 and any(value[:1] == b" " for _, value in found))
    ):
        return None
    try:
        headers = [(_names[name], value) for name, value in found]
    except KeyError:
        if not _learn(found):
            return None
        headers = [(name.lower(), value) for name, value in found]
    body = data[end + 2 :]
    return (int(line[1]), headers, body) if _is_framed(headers, len(body)) else None


def _is_framed(headers: Headers, size: int) -> bool:
    """Whether the only thing that they tell of the body is its size."""
    told = False
    for name, value in headers:
        if name not in _FRAMING:
            continue
        if name == b"content-length":
            if told or len(value) > _MOST_DIGITS or not value.isdigit() or int(value) != size:
                return False
            told = True
        elif name != b"connection" or value != b"keep-alive":
            return False
    return told


def _learn(fields: Headers) -> bool:
    """Note what their names are in lower case; False where one is wrong, or not plain."""
    for name, _ in fields:
        if name not in _names:
            if not _is_name(name):
                return False
            if len(_names) < _MAX_NAMES:
                _names[name] = name.lower()
    return True
