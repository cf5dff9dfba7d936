"""Which of a cluster's endpoints is next."""

from __future__ import annotations

from typing import Final

from anywasm.server.upstream.cluster import Endpoint

# Long enough to spare requests a dead endpoint, short enough to notice a restart.
_SHUNNED_FOR: Final = 5.0


class Endpoints:
    """Round robin over endpoints, leaving out for some seconds what just failed to connect."""

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._endpoints = endpoints
        self._next = 0
        self._shunned: dict[Endpoint, float] = {}

    def __len__(self) -> int:
        return len(self._endpoints)

    def pick(self, now: float) -> Endpoint:
        """Return the next endpoint; if all have just failed, the next all the same.

        Args:
            now: The loop's time, in seconds.
        """
        first = self._advance()
        endpoint = first
        for _ in range(len(self._endpoints) - 1):
            if now >= self._shunned.get(endpoint, 0.0):
                return endpoint
            endpoint = self._advance()
        return endpoint if now >= self._shunned.get(endpoint, 0.0) else first

    def failed(self, endpoint: Endpoint, now: float) -> None:
        """Leave an endpoint out for a while."""
        self._shunned[endpoint] = now + _SHUNNED_FOR

    def connected(self, endpoint: Endpoint) -> None:
        """Use an endpoint again."""
        self._shunned.pop(endpoint, None)

    def _advance(self) -> Endpoint:
        endpoint = self._endpoints[self._next]
        self._next = (self._next + 1) % len(self._endpoints)
        return endpoint
