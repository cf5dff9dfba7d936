"""Where filters stand in the chains of listeners: by name, whichever version serves."""

from __future__ import annotations

from anywasm.plugins.config import PluginConfig
from anywasm.plugins.plugin import Plugin


class FilterPlace:
    """The place of one filter.

    Attributes:
        name: The filter's name.
        plugin: What serves there, or None while no filter of that name is installed.
    """

    __slots__ = ("name", "plugin")

    def __init__(self, name: str) -> None:
        self.name = name
        self.plugin: Plugin | None = None


class FilterPlaces:
    """The places of one server's filters, as a `PluginHandler` that fills and empties them."""

    def __init__(self) -> None:
        self._places: dict[str, FilterPlace] = {}

    def get(self, name: str) -> FilterPlace:
        """The place of the filter of that name; the same one however often it comes and goes."""
        return self._places.setdefault(name, FilterPlace(name))

    def on_config_update(self, config: PluginConfig) -> None:
        """Nothing to do: what serves there is told by its start."""

    def on_plugin_start(self, plugin: Plugin) -> None:
        """Let `plugin` serve, in one step with its predecessor's end."""
        if plugin.is_filter:
            self.get(plugin.name).plugin = plugin

    def on_plugin_destroy(self, plugin: Plugin) -> None:
        """Leave the place empty, unless a successor has taken it."""
        place = self.get(plugin.name)
        if place.plugin is plugin:
            place.plugin = None
