"""Which answer a request gets: the first route that fits its path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from anywasm.plugins.config import RouteConfig
from anywasm.server.filters.local_reply import LocalReply

_SLASH: Final = ord("/")


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One route, ready for use.

    Attributes:
        name: Its name (property `xds.route_name`).
        prefix: How the path begins.
        path: The whole path, instead.
        cluster: Where the request goes, or None.
        direct: The answer, or None.
        timeout: Seconds for the whole response; None for no limit.
        host_rewrite: What the upstream sees as the host, or None.
        prefix_rewrite: What the upstream sees for the prefix, or None.
    """

    name: str
    prefix: bytes
    path: bytes | None
    cluster: str | None
    direct: LocalReply | None
    timeout: float | None
    host_rewrite: bytes | None
    prefix_rewrite: bytes | None

    @classmethod
    def from_config(cls, config: RouteConfig) -> Route:
        """Make one of its configuration."""
        direct = None
        if config.direct_response is not None:
            answer = config.direct_response
            headers = tuple(
                (name.lower().encode(), value.encode()) for name, value in answer.headers.items()
            )
            direct = LocalReply(answer.status, answer.body.encode(), "direct_response", headers)
        return cls(
            config.name,
            config.prefix.encode(),
            None if config.path is None else config.path.encode(),
            config.cluster,
            direct,
            config.timeout or None,
            None if config.host_rewrite is None else config.host_rewrite.encode(),
            None if config.prefix_rewrite is None else config.prefix_rewrite.encode(),
        )

    def fits(self, target: bytes) -> bool:
        """Whether a request for `target` takes this route; the query does not count."""
        if self.path is not None:
            return target.partition(b"?")[0] == self.path
        if self.prefix == b"/":  # the most usual one, and the cheapest to look at
            return target[0] == _SLASH if target else False
        return target.startswith(self.prefix)

    def rewrite(self, target: bytes) -> bytes:
        """The target that the upstream sees."""
        if self.prefix_rewrite is None:
            return target
        matched = self.path if self.path is not None else self.prefix
        return self.prefix_rewrite + target[len(matched) :]


class RouteTable:
    """The routes of one listener, in their order.

    Attributes:
        answers: Whether any route has an answer of its own.
    """

    def __init__(self, configs: Sequence[RouteConfig]) -> None:
        self._routes = tuple(Route.from_config(config) for config in configs)
        self.answers = any(route.direct is not None for route in self._routes)

    def match(self, target: bytes) -> Route | None:
        """The first route that fits a path, with or without a query."""
        for route in self._routes:
            if route.fits(target):
                return route
        return None
