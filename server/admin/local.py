"""The administration of the process that it runs in."""

from __future__ import annotations

from typing import Any

from anywasm.plugins.errors import PluginExistsError, PluginNotFoundError
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.router import FunctionRouter
from anywasm.plugins.wrapper import PluginWrapper
from anywasm.server.admin.administration import Action, Health
from anywasm.server.admin.requests import (
    BadRequestError,
    read_instance_num,
    read_name,
    read_plugin,
)
from anywasm.server.metrics import Metrics
from anywasm.server.threads import in_thread


class LocalAdministration:
    """Changes and shows the plugins of this process. Changes are made in threads: they may compile.

    Attributes:
        ready: Whether the process takes requests; set by whoever runs it.
    """

    def __init__(self, manager: PluginManager, router: FunctionRouter, metrics: Metrics) -> None:
        self.ready = False
        self._manager = manager
        self._router = router
        self._metrics = metrics

    async def change(self, action: Action, body: dict[str, Any]) -> dict[str, Any]:
        """See `Administration.change`."""
        method = {"install": self._install, "update": self._update, "uninstall": self._uninstall}
        return await in_thread(method[action], body)

    async def plugins(self) -> list[dict[str, Any]]:
        """See `Administration.plugins`."""
        return [_describe(item) for item in self._manager.list()]

    async def metrics(self) -> bytes:
        """See `Administration.metrics`."""
        return self._metrics.render()

    async def health(self) -> Health:
        """See `Administration.health`."""
        return Health(live=True, ready=self.ready)

    def _install(self, body: dict[str, Any]) -> dict[str, Any]:
        """Load, start and route a plugin."""
        name = read_name(body)
        config = read_plugin(body)
        if self._router.plugins(name):
            raise PluginExistsError(f"{name} is already registered")
        try:
            self._manager.add(config)
        except PluginExistsError:
            raise PluginExistsError(f"{name} is already registered") from None
        return _describe(self._manager.get(name))

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        """Change the number of instances, or, with vm_config, the whole plugin."""
        name = self._find(read_name(body))
        if "vm_config" in body:
            self._manager.get(name).update(read_plugin({**body, "name": name}))
        else:
            self._manager.resize(name, read_instance_num(body))
        return _describe(self._manager.get(name))

    def _uninstall(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take a plugin out of service."""
        name = self._find(read_name(body))
        self._manager.uninstall(name)
        return {"name": name}

    def _find(self, name: str) -> str:
        """The plugin of that name, or else the one whose function id it is, as in Layotto."""
        named = {wrapper.name for wrapper in self._manager.list()}
        plugins = self._router.plugins(name)
        if name in named:
            return name
        if len(plugins) == 1:
            return plugins[0].name
        if plugins:
            names = ", ".join(plugin.name for plugin in plugins)
            raise BadRequestError(f"several plugins have the id {name}; name one of {names}")
        raise PluginNotFoundError(name, tuple(named))


def _describe(wrapper: PluginWrapper) -> dict[str, Any]:
    plugin = wrapper.plugin
    return {
        "name": wrapper.name,
        "id": plugin.id,
        "engine": plugin.module.vm.name,
        "engine_version": plugin.module.vm.version,
        "path": plugin.source.place,
        "sha256": plugin.source.sha256,
        "version": plugin.version,
        "instance_num": plugin.pool.size,
        "instances": {"running": len(plugin.pool.slots), "idle": plugin.pool.idle},
        "replaced_instances": plugin.pool.replaced,
        "reloads": wrapper.reloads,
        "last_error": wrapper.last_error,
        "circuit": plugin.circuit.describe(),
    }
