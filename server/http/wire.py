"""From the header maps of guests to what goes onto the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from anywasm.server.http.request import Header

#: Headers about one connection only (RFC 9110, section 7.6.1); each side's codec writes its own.
HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    }
)
#: Those of them that guests do not see either; `transfer-encoding` stays visible, as in Envoy.
CONNECTION: Final = HOP_BY_HOP - {b"transfer-encoding"}
#: What no request of a filter chain brings to the upstream as a header: the host is `:authority`,
#: and the timeout is the route's.
_NOT_FORWARDED: Final = HOP_BY_HOP | {b"host", b"x-envoy-expected-rq-timeout-ms"}
#: Longer numbers are no lengths, and Python refuses to read very long ones.
_MOST_DIGITS: Final = 18


def wire_fields(pairs: list[Header], to_upstream: bool) -> tuple[list[Header], int | None]:
    """What is left of a map's pairs, and what they say of the body's length.

    Args:
        pairs: A map's. Pseudo headers are left out, and what is about another connection.
        to_upstream: Whether it is a request: a second `host` of a filter does not pass then.

    Returns:
        The headers, and the length as `declared_length` tells it.
    """
    dropped = _NOT_FORWARDED if to_upstream else HOP_BY_HOP
    fields = [pair for pair in pairs if pair[0][:1] != b":" and pair[0] not in dropped]
    return fields, declared_length(pairs)


def declared_length(pairs: list[Header]) -> int | None:
    """The declared length of the body; -1 for something else than one number, None for nothing."""
    found: bytes | None = None
    for name, value in pairs:
        if name == b"content-length":
            if found is not None:
                return -1
            found = value
    if found is None:
        return None
    return int(found) if found.isdigit() and len(found) <= _MOST_DIGITS else -1


def connection_options(headers: Iterable[Header]) -> frozenset[bytes]:
    """The headers that `connection` declares to be about this connection only."""
    options: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            options.update(option.strip().lower() for option in value.split(b","))
    # These two are framing, which no sender can take away.
    return frozenset(options - {b"", b"close", b"keep-alive", b"host", b"content-length"})
