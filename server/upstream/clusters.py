"""The upstreams that a server knows, by name."""

from __future__ import annotations

from dataclasses import replace

from anywasm.core.errors import ConfigError
from anywasm.server.upstream.cluster import Cluster
from anywasm.server.upstream.pool import UpstreamPool


class UpstreamClusters:
    """One pool for each cluster; belongs to one event loop."""

    def __init__(self) -> None:
        self._pools: dict[str, UpstreamPool] = {}
        self._pinned: dict[tuple[str, str], UpstreamPool] = {}

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

    def pinned(self, name: str, address: str) -> UpstreamPool | None:
        """Return a pool that uses only one endpoint of a cluster.

        Args:
            name: The cluster.
            address: The endpoint, as `host:port`.

        Returns:
            The pool, made when first asked for; None where the cluster has no such endpoint.
        """
        key = name, address
        pool = self._pinned.get(key)
        whole = self._pools.get(name)
        if pool is None and whole is not None:
            for endpoint in whole.cluster.endpoints:
                if f"{endpoint[0]}:{endpoint[1]}" == address:
                    only = replace(whole.cluster, endpoints=(endpoint,))
                    pool = self._pinned[key] = UpstreamPool(only)
                    break
        return pool

    def close(self) -> None:
        """Close all pools and forget them."""
        pools = (*self._pools.values(), *self._pinned.values())
        self._pools, self._pinned = {}, {}
        for pool in pools:
            pool.close()
