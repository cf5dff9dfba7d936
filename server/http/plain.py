"""The request that most are, read without llhttp: one that came whole, and nothing after it.

llhttp calls back into Python for every part of a message; a few passes in C over a whole head cost
less. What is taken here is a subset of what `RequestParser` takes, with the same result. Whatever
is rare, wrong or hostile is left to it. `codec` has the same in C.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from anywasm.server.http.request import Headers

#: Method, target, headers; and the body, None where none is declared.
Plain: TypeAlias = "tuple[bytes, bytes, Headers, bytes | None]"

_request_line = re.compile(rb"(GET|HEAD|DELETE|OPTIONS|POST) (/[!\"$-~]*) HTTP/1\.1\r").match
_fields: Final = re.compile(rb"\n(.+?): ?(.*)\r").findall
_is_name = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}").fullmatch
_is_length = re.compile(rb"[0-9]{1,18}").fullmatch
_CONTROLS: Final = bytes(range(32)) + b"\x7f"

#: What says something about the body or the connection (to llhttp `proxy-connection` does, too).
_RARE: Final = frozenset(
    (
        *(b"host", b"connection", b"proxy-connection", b"upgrade"),
        *(b"content-length", b"transfer-encoding", b"expect"),
    )
)

# Names as sent, and in lower case. Clients use few but may invent more, hence the bound. Of these
# there are no other spellings here, so that they can be counted.
_names: Final = {
    name: name.lower()
    for known in (b"Host", b"Connection", b"Content-Length")
    for name in (known, known.lower())
}
_MAX_NAMES: Final = 4096
# However many the listener allows.
_MOST_FIELDS: Final = 128


def parse_plain(data: bytes, max_headers: int) -> Plain | None:
    """Method, target, headers and body of a request that is all of `data`; None for anything else.

    None says nothing about `data`: what is not plain may still be a good request.

    Args:
        data: What has come.
        max_headers: A request with more is not plain.
    """
    end = data.find(b"\r\n\r\n") + 4
    head = data if end == len(data) else data[:end]
    found = _fields(head)
    count = len(found)
    if (
        not 0 < count <= max_headers
        or count > _MOST_FIELDS
        # Every line but the first and the last is a header, and all controls are whole line ends.
        or head.count(b"\r\n") != count + 2
        or len(head.translate(None, _CONTROLS)) != end - 2 * count - 4
        # Whitespace around a value, which would have to be removed. (`in` is slower for bytes: it
        # looks for a number first.)
        or head.find(b" \r") >= 0
        or (head.find(b":  ") >= 0 and any(value[:1] == b" " for _, value in found))
        or head.count(b"\nHost:") + head.count(b"\nhost:") != 1
    ):
        return None
    if head.find(b"onnection:") >= 0 and (
        head.count(b"\nConnection:") + head.count(b"\nconnection:")
        != head.count(b"\nConnection: keep-alive\r") + head.count(b"\nconnection: keep-alive\r")
    ):
        return None
    line = _request_line(head)
    if line is None:
        return None
    try:
        headers = [(_names[name], value) for name, value in found]
    except KeyError:
        if not _learn(found):
            return None
        headers = [(name.lower(), value) for name, value in found]
    body: bytes | None = None
    if head.find(b"ength:") >= 0:
        for name, value in headers:
            if name == b"content-length":
                if body is not None or not _is_length(value) or int(value) != len(data) - end:
                    return None
                body = data[end:]
    if body is None and head is not data:
        return None
    method, target = line.groups()
    return method, target, headers, body


def _learn(fields: Headers) -> bool:
    """Note what their names are in lower case; False where one is wrong, or not plain."""
    for name, _ in fields:
        if name not in _names:
            lower = name.lower()
            if not _is_name(name) or lower in _RARE:
                return False
            if len(_names) < _MAX_NAMES:
                _names[name] = lower
    return True
