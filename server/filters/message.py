"""Between the wire and the header maps of guests: pseudo headers, hop-by-hop headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.server.http import Headers, HttpExchange

#: Headers about one connection only (RFC 9110, section 7.6.1); each side's codec writes its own.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    }
)

_CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"upgrade"})


def request_headers(exchange: HttpExchange) -> HeaderMap:
    """A request's headers as filters see them, in Envoy's order.

    The pseudo headers come first; `transfer-encoding` stays visible, as in Envoy, and what
    `connection` names is gone.
    """
    pairs: list[Pair] = [
        (b":authority", b""),
        (b":path", exchange.target),
        (b":method", exchange.method),
        (b":scheme", b"https" if exchange.is_tls else b"http"),
    ]
    named = connection_options(exchange.headers)
    for pair in exchange.headers:
        name = pair[0]
        if name == b"host":
            pairs[0] = (b":authority", pair[1])
        elif name not in _CONNECTION and name not in named:
            pairs.append(pair)
    return HeaderMap(pairs)


def forwarded_source(headers: HeaderMap) -> tuple[str, int] | None:
    """The client that the last proxy tells of in `x-forwarded-for`, as Envoy reads it.

    None where the last entry is no IP address without a port. The client's port is not known: 0.
    """
    told = b",".join(value for name, value in headers.pairs if name == b"x-forwarded-for")
    try:
        address = ipaddress.ip_address(told.rpartition(b",")[2].strip().decode("ascii"))
    except ValueError:
        return None
    return str(address), 0


def response_headers(status: int, headers: Headers) -> HeaderMap:
    """An upstream's response headers as filters see them."""
    named = connection_options(headers)
    pairs: list[Pair] = [(b":status", b"%d" % status)]
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


def wire_headers(headers: HeaderMap) -> list[Pair]:
    """What goes onto the wire: no pseudo headers, nothing about another connection."""
    return [pair for pair in headers.pairs if pair[0][:1] != b":" and pair[0] not in HOP_BY_HOP]


def content_length(headers: HeaderMap) -> int | None:
    """The declared length of the body, or None where there is no valid one."""
    value = headers.get(b"content-length")
    return int(value) if value is not None and value.isdigit() else None
