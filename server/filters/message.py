"""Between the wire and the header maps of guests: pseudo headers, hop-by-hop headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.server.http import Headers, HttpExchange
from anywasm.server.http.codec import request_id

if TYPE_CHECKING:
    from anywasm.server.filters.listener import FilterListener

_CONNECTION: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"upgrade"})


def request_headers(exchange: HttpExchange, listener: FilterListener, upgrade: bool) -> HeaderMap:
    """A request's headers as filters see them, in Envoy's order.

    The pseudo headers come first, with the authority of an absolute target before that of `host`
    (RFC 9112, 3.2.2); `transfer-encoding` stays visible, as in Envoy. What `connection` names is
    gone, and so is `expect`, which the listener answers itself.

    Args:
        exchange: The request.
        listener: Says which headers are added.
        upgrade: Whether the client may switch protocols; its headers about that stay visible then.
    """
    connection = exchange.connection
    scheme = b"https" if connection.is_tls else b"http"
    target, authority = exchange.target, None
    if target[:1] != b"/" and b"://" in target:
        authority, target = _split(target)
    pairs: list[Pair] = [
        (b":authority", authority or b""),
        (b":path", target),
        (b":method", exchange.method),
        (b":scheme", scheme),
    ]
    trusts = not listener.use_remote_address
    options: frozenset[bytes] | None = None
    forwarded: list[bytes] | None = None
    forwarded_at = 0
    has_scheme = has_id = False
    for pair in exchange.headers:
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
    client = connection.client
    if not trusts and client is not None:
        if forwarded is None:
            pairs.append((b"x-forwarded-for", client))
        else:
            forwarded.append(client)
    if forwarded is not None:
        pairs[forwarded_at] = (b"x-forwarded-for", b",".join(forwarded))
    if not has_scheme:
        pairs.append((b"x-forwarded-proto", scheme))
    if listener.generate_request_id and not has_id:
        pairs.append((b"x-request-id", request_id()))
    headers = HeaderMap()
    headers.pairs = [p for p in pairs if p[0] not in options] if options else pairs
    return headers


def forwarded_source(headers: HeaderMap) -> tuple[str, int] | None:
    """The client that the last proxy tells of in `x-forwarded-for`, as Envoy reads it.

    None where the last entry is no bare IP address. The client's port is not known: 0.
    """
    told = headers.get(b"x-forwarded-for")
    if told is None:
        return None
    try:
        address = ipaddress.ip_address(told.rpartition(b",")[2].strip().decode("latin-1"))
    except ValueError:
        return None
    return str(address), 0


_TREATED: Final = _CONNECTION | {
    b"host",
    b"expect",
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-request-id",
}


def _split(target: bytes) -> tuple[bytes, bytes]:
    """Authority and path of an absolute target."""
    rest = target.partition(b"://")[2]
    for at, byte in enumerate(rest):
        if byte in b"/?":
            path = rest[at:]
            return rest[:at], path if path[:1] == b"/" else b"/" + path
    return rest, b"/"


def response_headers(status: int, headers: Headers) -> HeaderMap:
    """An upstream's response headers as filters see them; those of a 101 name its protocol."""
    pairs: list[Pair] = [(b":status", b"%d" % status)]
    if status == 101:
        pairs += headers
    else:
        named = connection_options(headers)
        pairs += [pair for pair in headers if pair[0] not in _CONNECTION and pair[0] not in named]
    return HeaderMap(pairs)


def connection_options(headers: Iterable[Pair]) -> frozenset[bytes]:
    """The headers that `connection` declares to be about this connection only."""
    options: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            options.update(option.strip().lower() for option in value.split(b","))
    # These two are framing, which no sender can take away.
    return frozenset(options - {b"", b"close", b"keep-alive", b"host", b"content-length"})


def without_length(headers: Iterable[Pair]) -> list[Pair]:
    """The headers without what they say of the body's length."""
    return [pair for pair in headers if pair[0] != b"content-length"]


def trailer_fields(trailers: HeaderMap) -> list[Pair]:
    """Trailers as they go onto the wire."""
    return [pair for pair in trailers.pairs if pair[0][:1] != b":"]
