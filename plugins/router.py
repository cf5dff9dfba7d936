"""Functions by id. Several plugins may share one id; they take turns."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Iterator
from typing import NamedTuple

from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import FunctionNotFoundError
from anywasm.plugins.plugin import Plugin


class _Route(NamedTuple):
    """The plugins of one id, and whose turn it is, for each choice of them.

    Were turns counted for all choices together, two callers that choose among different plugins and
    alternate would each get the same one for ever.
    """

    plugins: tuple[Plugin, ...]
    turns: dict[tuple[Plugin, ...], Iterator[int]]


_NOWHERE = _Route((), {})


class FunctionRouter:
    """An id -> plugins table. Reading takes no lock: a change replaces the whole table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plugins: dict[str, Plugin] = {}
        self._routes: dict[str, _Route] = {}

    def set(self, plugin: Plugin) -> None:
        """Route the plugin's id to it, instead of to an earlier version of that name."""
        with self._lock:
            self._plugins = {**self._plugins, plugin.name: plugin}
            self._rebuild()

    def remove(self, name: str) -> None:
        """Route nothing to the plugin of that name; other plugins with its id stay."""
        with self._lock:
            self._plugins = {key: value for key, value in self._plugins.items() if key != name}
            self._rebuild()

    def _rebuild(self) -> None:
        plugins: dict[str, tuple[Plugin, ...]] = {}
        for plugin in self._plugins.values():
            plugins[plugin.id] = (*plugins.get(plugin.id, ()), plugin)
        routes: dict[str, _Route] = {}
        for name, those in plugins.items():
            route = self._routes.get(name, _NOWHERE)
            routes[name] = route if route.plugins == those else _Route(those, {})
        self._routes = routes

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids that are routed."""
        return tuple(self._routes)

    def plugins(self, id: str) -> tuple[Plugin, ...]:
        """The plugins of that id."""
        return self._routes.get(id, _NOWHERE).plugins

    def pick(self, id: str, among: Collection[str] | None = None) -> Plugin:
        """The plugin whose turn it is.

        Args:
            id: The function's id.
            among: The plugin names to choose from; all by default.

        Raises:
            FunctionNotFoundError: When no plugin has that id.
        """
        plugins, turns = self._routes.get(id, _NOWHERE)
        if among is not None:
            plugins = tuple(plugin for plugin in plugins if plugin.name in among)
        if not plugins:
            raise FunctionNotFoundError(f"no function has the id {id!r}", phase="route")
        if len(plugins) == 1:
            return plugins[0]
        return plugins[next(turns.setdefault(plugins, itertools.count())) % len(plugins)]

    # --- as a PluginHandler ---

    def on_config_update(self, config: PluginConfig) -> None:
        """Nothing to do: routes follow the plugin, not its configuration."""

    def on_plugin_start(self, plugin: Plugin) -> None:
        """Route to it, in one step with taking the route from its predecessor."""
        if not plugin.is_filter:
            self.set(plugin)

    def on_plugin_destroy(self, plugin: Plugin) -> None:
        """Route nothing to it any more, unless a successor has taken its place."""
        if self._plugins.get(plugin.name) is plugin:
            self.remove(plugin.name)
