"""The upstreams that a server knows, by name."""

from __future__ import annotations

from anywasm.core.errors import ConfigError
from anywasm.server.upstream.cluster import Cluster
from anywasm.server.upstream.pool import UpstreamPool


class UpstreamClusters:
    """One pool for each cluster; belongs to one event loop."""

    def __init__(self) -> None:
        self._pools: dict[str, UpstreamPool] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order added."""
        return tuple(self._pools)

    def add(self, cluster: Cluster) -> UpstreamPool:
        """Make the pool of a cluster; nothing is connected yet.

        Raises:
            ConfigError: There is a cluster of that name, or its CA file cannot be used.
        """
        if cluster.name in self._pools:
            raise ConfigError(f"there are two upstream clusters named {cluster.name!r}")
        pool = self._pools[cluster.name] = UpstreamPool(cluster)
        return pool

    def get(self, name: str) -> UpstreamPool | None:
        """Return the pool of a cluster, None if there is none of that name."""
        return self._pools.get(name)

    def close(self) -> None:
        """Close all pools and forget them."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()
