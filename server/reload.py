"""Takes up the plugins of a changed configuration in a process that serves."""

from __future__ import annotations

import logging

from anywasm.core.errors import AnyWasmError
from anywasm.plugins.config import AppConfig
from anywasm.plugins.errors import PluginNotFoundError, SameConfigError
from anywasm.plugins.manager import PluginManager

_log = logging.getLogger("anywasm.server")


def reload_plugins(manager: PluginManager, old: AppConfig, new: AppConfig) -> None:
    """Add, update and remove plugins until they are those of `new`; blocks, for a thread.

    Each change is made wholly or not at all: where one fails, that plugin serves on as it was, and
    the log says why. What was installed through the management API and is not in `old` stays.
    """
    for plugin in new.plugins:
        try:
            change = manager.add_or_update(plugin)
        except SameConfigError:
            continue
        except AnyWasmError as error:
            _log.error("plugin %s: the change is not taken up: %s", plugin.name, error)
        else:
            _log.info("plugin %s: %s", plugin.name, change.value)
    for name in {plugin.name for plugin in old.plugins} - {plugin.name for plugin in new.plugins}:
        try:
            manager.uninstall(name)
        except PluginNotFoundError:
            _log.debug("plugin %s was uninstalled before", name)
    differing = [
        key
        for key in AppConfig.model_fields
        if key != "plugins" and getattr(old, key) != getattr(new, key)
    ]
    if differing:
        _log.warning(
            "changes of %s take effect after a restart; several workers take up everything",
            ", ".join(differing),
        )
