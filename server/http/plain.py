"""The request that most are, read without llhttp: a head that came whole, and no body.

llhttp calls back into Python for every part of a message; a few passes in C over a whole head cost
less. What is taken here is a subset of what `RequestParser` takes, with the same result. Whatever
is rare, wrong or hostile is left to it.
"""

from __future__ import annotations

import re

from anywasm.server.http.request import Headers

_request_line = re.compile(rb"(GET|HEAD|DELETE|OPTIONS|POST) (/[!\"$-~]*) HTTP/1\.1\r").match
_fields = re.compile(rb"\n(.+?): ?(.*)\r").findall
_is_name = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}").fullmatch
_CONTROLS = bytes(range(32)) + b"\x7f"

#: What says something about the body or the connection.
_RARE = frozenset(
    (b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"host", b"connection")
)

# Names as sent, and in lower case. Clients use few but may invent more, hence the bound. Of these
# two there are no other spellings here, so that they can be counted.
_names = {name: name.lower() for name in (b"Host", b"host", b"Connection", b"connection")}
_MAX_NAMES = 4096


def parse_plain(data: bytes, max_headers: int) -> tuple[bytes, bytes, Headers] | None:
    """Method, target and headers of a request that is all of `data`; None for anything else.

    None says nothing about `data`: what is not plain may still be a good request.

    Args:
        data: What has come.
        max_headers: A request with more is not plain.
    """
    found = _fields(data)
    count = len(found)
    if (
        not 0 < count <= max_headers
        or data[-4:] != b"\r\n\r\n"
        # Every line but the first and the last is a header, and all controls are whole line ends.
        or data.count(b"\r\n") != count + 2
        or len(data.translate(None, _CONTROLS)) != len(data) - 2 * count - 4
        # Whitespace around a value, which would have to be removed. (`in` is slower for bytes: it
        # looks for a number first.)
        or data.find(b" \r") >= 0
        or data.find(b":  ") >= 0
        or data.count(b"\nHost:") + data.count(b"\nhost:") != 1
    ):
        return None
    connections = data.count(b"onnection:")
    if connections and connections != (
        data.count(b"\nConnection: keep-alive\r") + data.count(b"\nconnection: keep-alive\r")
    ):
        return None
    line = _request_line(data)
    if line is None:
        return None
    try:
        headers = [(_names[name], value) for name, value in found]
    except KeyError:
        if not _learn(found):
            return None
        headers = [(name.lower(), value) for name, value in found]
    method, target = line.groups()
    return method, target, headers


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
