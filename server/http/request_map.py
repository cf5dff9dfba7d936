"""From a request's headers to the pairs that filters see."""

from __future__ import annotations

from typing import Final

from anywasm.server.http.request import Header, Headers
from anywasm.server.http.request_id import request_id
from anywasm.server.http.wire import CONNECTION, connection_options

_TREATED: Final = CONNECTION | {
    b"host",
    b"expect",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-request-id",
}


def request_pairs(
    fields: Headers,
    method: bytes,
    target: bytes,
    scheme: bytes,
    client: bytes | None,
    trusts: bool,
    generate_id: bool,
    upgrade: bool,
) -> list[Header]:
    """A request's headers as filters see them, in Envoy's order.

    Args:
        fields: As they came.
        method: The request's.
        target: The request's.
        scheme: `http` or `https`.
        client: The address to be appended to `x-forwarded-for`, or None.
        trusts: Whether what the client says of itself is let by.
        generate_id: Whether a request without an `x-request-id` gets one.
        upgrade: Whether the client may switch protocols.
    """
    authority: bytes | None = None
    if target[:1] != b"/" and b"://" in target:
        authority, target = _split(target)
    pairs: list[Header] = [
        (b":authority", authority or b""),
        (b":path", target),
        (b":method", method),
        (b":scheme", scheme),
    ]
    options: frozenset[bytes] | None = None
    forwarded: list[bytes] | None = None
    forwarded_at = 0
    has_scheme = has_id = False
    for pair in fields:
        name = pair[0]
        if name not in _TREATED:
            pairs.append(pair)
        elif name == b"host":
            if authority is None:
                pairs[0] = (b":authority", pair[1])
        elif name == b"x-forwarded-for":
            if forwarded is None:
                forwarded, forwarded_at = [], len(pairs)
                pairs.append(pair)
            forwarded.append(pair[1])
        elif name == b"x-forwarded-proto":
            if trusts and not has_scheme:
                has_scheme = True
                pairs.append(pair)
        elif name == b"x-request-id":
            has_id = True
            pairs.append(pair)
        elif upgrade and name in (b"connection", b"upgrade"):
            pairs.append(pair)
        elif name == b"connection":
            named = connection_options((pair,))
            options = named if options is None else options | named
    if client is not None:
        if forwarded is None:
            pairs.append((b"x-forwarded-for", client))
        else:
            forwarded.append(client)
    if forwarded is not None:
        pairs[forwarded_at] = (b"x-forwarded-for", b",".join(forwarded))
    if not has_scheme:
        pairs.append((b"x-forwarded-proto", scheme))
    if generate_id and not has_id:
        pairs.append((b"x-request-id", request_id()))
    return [pair for pair in pairs if pair[0] not in options] if options else pairs


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Authority and path of an absolute target."""
    rest = target.partition(b"://")[2]
    for at, byte in enumerate(rest):
        if byte in b"/?":
            path = rest[at:]
            return rest[:at], path if path[:1] == b"/" else b"/" + path
    return rest, b"/"
