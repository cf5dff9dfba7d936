"""Between the wire and the header maps of guests: pseudo headers, hop-by-hop headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import Pair
from anywasm.server.http import Headers, HttpExchange
from anywasm.server.http.codec import request_pairs
from anywasm.server.http.wire import CONNECTION, connection_options

if TYPE_CHECKING:
    from anywasm.server.filters.listener import FilterListener

# Compiled code looks the names of modules up each time, but not what is final.
_HeaderMap: Final = HeaderMap
_request_pairs: Final = request_pairs


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
    headers = _HeaderMap()
    headers.pairs = _request_pairs(
        exchange.headers,
        exchange.method,
        exchange.target,
        b"https" if connection.is_tls else b"http",
        connection.client if listener.use_remote_address else None,
        not listener.use_remote_address,
        listener.generate_request_id,
        upgrade,
    )
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


def response_headers(status: int, headers: Headers) -> HeaderMap:
    """An upstream's response headers as filters see them; those of a 101 name its protocol."""
    pairs: list[Pair] = [(b":status", b"%d" % status)]
    if status == 101:
        pairs += headers
    else:
        named = connection_options(headers)
        pairs += [pair for pair in headers if pair[0] not in CONNECTION and pair[0] not in named]
    return HeaderMap(pairs)


def without_length(headers: Iterable[Pair]) -> list[Pair]:
    """The headers without what they say of the body's length."""
    return [pair for pair in headers if pair[0] != b"content-length"]


def trailer_fields(trailers: HeaderMap) -> list[Pair]:
    """Trailers as they go onto the wire."""
    return [pair for pair in trailers.pairs if pair[0][:1] != b":"]
