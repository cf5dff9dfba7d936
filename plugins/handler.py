"""What wants to know when plugins come, change and go."""

from __future__ import annotations

from typing import Protocol

from anywasm.plugins.config import PluginConfig
from anywasm.plugins.plugin import Plugin


class PluginHandler(Protocol):
    """Told about each plugin's life, in this order; the names are MOSN's.

    Calls for one plugin never overlap. An exception from the first two stops the change: the
    handlers are told of the plugin that served before, which goes on serving, and then that the new
    one is gone.
    """

    def on_config_update(self, config: PluginConfig) -> None:
        """A new configuration was accepted; its plugin is started already but does not serve."""

    def on_plugin_start(self, plugin: Plugin) -> None:
        """`plugin` serves from now on, instead of the earlier one of its name."""

    def on_plugin_destroy(self, plugin: Plugin) -> None:
        """`plugin` serves nothing new any more; what runs in it is drained next."""
