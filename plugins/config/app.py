"""A whole configuration."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from anywasm.plugins.config.abi_limits import AbiLimitsConfig
from anywasm.plugins.config.address import Address
from anywasm.plugins.config.cluster import ClusterConfig
from anywasm.plugins.config.listener import ListenerConfig
from anywasm.plugins.config.management import ManagementConfig
from anywasm.plugins.config.model import (
    CrossCheckError,
    KeyPath,
    Model,
    Name,
    NotEmpty,
    Problem,
    Switch,
    key_path_text,
)
from anywasm.plugins.config.plugin import PluginConfig
from anywasm.plugins.config.state_store import StateStoreConfig
from anywasm.plugins.config.units import Duration, Timeout

#: Bound on `workers`, so that a slip of the keyboard does not take the machine down.
MAX_WORKERS = 256


class AppConfig(Model):
    """Everything that one server process is told."""

    listeners: Annotated[tuple[ListenerConfig, ...], NotEmpty]
    """Where requests come in."""
    plugins: tuple[PluginConfig, ...] = ()
    """What answers or filters them."""
    clusters: tuple[ClusterConfig, ...] = ()
    """Upstreams, which routes and guests name."""
    state_stores: dict[Name, StateStoreConfig] = Field(default_factory=dict)
    """What guests read with `proxy_get_state`, by the name they use."""
    shared_store: StateStoreConfig | None = None
    """Where guests' shared data and queues are; by default in each process."""
    management: ManagementConfig | None = None
    """The management API; by default there is none, `{}` opens it at its default address."""
    watch: Switch = True
    """Whether changed modules are taken up while running."""
    drain_timeout: Duration = 10.0
    """How long running requests may still take when a plugin is replaced or the server stops."""
    workers: Literal["auto"] | Annotated[int, Field(strict=True, ge=1, le=MAX_WORKERS)] = 1
    """How many processes serve; `auto` is one for each CPU that there is."""
    worker_timeout: Timeout = 60.0
    """How long a worker's event loop may stand still before the worker is killed and replaced."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on is logged."""
    node_id: str = Field(default_factory=socket.gethostname)
    """What guests read as `xds.node.id`; by default the name of the machine."""
    abi_limits: AbiLimitsConfig = AbiLimitsConfig()
    """What guests may store in their host."""

    @property
    def filter_names(self) -> frozenset[str]:
        """The plugins that are filters of some listener; all others are functions."""
        return frozenset(name for item in self.listeners for name in item.filters or ())

    @property
    def worker_count(self) -> int:
        """How many processes serve; `auto` is one for each CPU that this one may use."""
        if self.workers != "auto":
            return self.workers
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return min(cpus or 1, MAX_WORKERS)

    @model_validator(mode="after")
    def _consistent(self) -> AppConfig:
        problems = [
            *self._repeated(),
            *self._misplaced_plugins(),
            *self._unknown_clusters(),
        ]
        if problems:
            raise CrossCheckError(problems)
        return self

    def _repeated(self) -> Iterator[Problem]:
        named: tuple[tuple[str, Sequence[ListenerConfig | PluginConfig | ClusterConfig]], ...] = (
            ("listeners", self.listeners),
            ("plugins", self.plugins),
            ("clusters", self.clusters),
        )
        for key, items in named:
            first: dict[str, int] = {}
            for index, item in enumerate(items):
                if first.setdefault(item.name, index) != index:
                    other = key_path_text((key, first[item.name]))
                    yield (key, index, "name"), f'"{item.name}" is the name of {other} already'
        places: list[tuple[KeyPath, Address]] = [
            (("listeners", index), listener.address)
            for index, listener in enumerate(self.listeners)
        ]
        if self.management is not None:
            places.append((("management",), self.management.address))
        taken: dict[Address, KeyPath] = {}
        for path, address in places:
            fixed = address.path is not None or address.port != 0
            if fixed and taken.setdefault(address, path) != path:
                yield (
                    (*path, "address"),
                    f"{address} is the address of {key_path_text(taken[address])} already",
                )

    def _misplaced_plugins(self) -> Iterator[Problem]:
        known = [plugin.name for plugin in self.plugins]
        filters: dict[str, KeyPath] = {}
        for index, listener in enumerate(self.listeners):
            for position, name in enumerate(listener.filters or ()):
                filters.setdefault(name, ("listeners", index, "filters", position))
        for index, listener in enumerate(self.listeners):
            key = "plugins" if listener.filters is None else "filters"
            counts: Counter[str] = Counter()
            for position, name in enumerate(getattr(listener, key) or ()):
                path = ("listeners", index, key, position)
                counts[name] += 1
                if name not in known:
                    yield path, f'unknown plugin "{name}"; known: {", ".join(known) or "none"}'
                elif counts[name] == 2:
                    yield path, f'"{name}" is listed twice'
                elif key == "plugins" and name in filters:
                    message = (
                        f'"{name}" is a filter ({key_path_text(filters[name])}) and cannot be a '
                        f"function too; configure it a second time under another name"
                    )
                    yield path, message

    def _unknown_clusters(self) -> Iterator[Problem]:
        known = [cluster.name for cluster in self.clusters]
        for index, listener in enumerate(self.listeners):
            for position, route in enumerate(listener.routes):
                if route.cluster is not None and route.cluster not in known:
                    path = ("listeners", index, "routes", position, "cluster")
                    names = ", ".join(known) or "none"
                    yield path, f'unknown cluster "{route.cluster}"; known: {names}'
