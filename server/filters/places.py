"""Where filters stand in the chains of listeners: by name, whichever version serves."""

from __future__ import annotations

from anywasm.plugins.config import PluginConfig
from anywasm.plugins.filter_pool import FilterPool
from anywasm.plugins.plugin import Plugin


class ServingFilter:
    """A filter that serves: its plugin, and what each stream asks of that.

    Attributes:
        plugin: The plugin.
        name: Its name.
        pool: Its instances.
        inline: See `Plugin`, as for all that follow.
        changes_request: See there.
        changes_response: See there.
        sees_response: See there.
    """

    __slots__ = (
        "changes_request",
        "changes_response",
        "inline",
        "name",
        "plugin",
        "pool",
        "sees_response",
    )

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.name = plugin.name
        self.pool: FilterPool = plugin.filters
        self.inline = plugin.inline
        self.changes_request = plugin.changes_request
        self.changes_response = plugin.changes_response
        self.sees_response = plugin.sees_response


class FilterPlace:
    """The place of one filter.

    Attributes:
        name: The filter's name.
        serving: What serves there, or None while no filter of that name is installed.
    """

    __slots__ = ("name", "serving")

    def __init__(self, name: str) -> None:
        self.name = name
        self.serving: ServingFilter | None = None


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
            self.get(plugin.name).serving = ServingFilter(plugin)

    def on_plugin_destroy(self, plugin: Plugin) -> None:
        """Leave the place empty, unless a successor has taken it."""
        place = self.get(plugin.name)
        if place.serving is not None and place.serving.plugin is plugin:
            place.serving = None
