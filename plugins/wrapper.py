"""A plugin's name, and whichever version serves under it now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginNotFoundError, SameConfigError
from anywasm.plugins.handler import PluginHandler
from anywasm.plugins.host import PluginHost
from anywasm.plugins.plugin import Plugin
from anywasm.plugins.source import ModuleSource, read_source

_log = logging.getLogger("anywasm.plugins")

T = TypeVar("T")


class PluginWrapper:
    """Holds the version that serves and swaps in the next. Changes are made one at a time.

    Attributes:
        name: The plugin's name.
        plugin: The version that serves.
        last_error: What the last update said that failed, or None when all is as it should be.
        reloads: How many versions were swapped in after the first.
    """

    def __init__(
        self,
        plugin: Plugin,
        host: PluginHost,
        handlers: Sequence[PluginHandler],
        retire: Callable[[Plugin], None],
    ) -> None:
        """Take the first version, started already, and tell the handlers.

        Args:
            plugin: The first version.
            host: The process that runs it.
            handlers: Told about each change; a live view of the manager's.
            retire: Drains and closes a version that serves no more, in its own time.
        """
        self.name = plugin.name
        self.plugin = plugin
        self.last_error: str | None = None
        self.reloads = 0
        self._host = host
        self._handlers = handlers
        self._retire = retire
        self._lock = threading.Lock()
        self._removed = False
        self._announce(plugin, None)

    def _announce(self, plugin: Plugin, old: Plugin | None) -> None:
        """Tell the handlers of a new version; when one of them objects, take everything back."""
        try:
            for handler in self._handlers:
                handler.on_config_update(plugin.config)
            for handler in self._handlers:
                handler.on_plugin_start(plugin)
        except BaseException:
            for handler in self._handlers:
                if old is not None:
                    self._tell(handler.on_config_update, old.config)
                    self._tell(handler.on_plugin_start, old)
                self._tell(handler.on_plugin_destroy, plugin)
            raise

    def _tell(self, method: Callable[[T], None], what: T) -> None:
        """Tell a handler what it cannot stop."""
        try:
            method(what)
        except Exception:
            _log.exception("plugin %s: %s failed", self.name, method.__qualname__)

    def update(self, config: PluginConfig, *, refresh: bool = False) -> None:
        """Bring the plugin in line with `config` and with its module as it is now.

        A new version is started completely before it replaces the old one, which keeps serving
        when anything fails. Where only `instance_num` differs, instances come or go.

        Args:
            config: The new configuration, or the same.
            refresh: Whether a module with a URL is looked for there, and not only on the disk.

        Raises:
            SameConfigError: When neither the configuration nor the module has changed.
            PluginNotFoundError: When the plugin was removed meanwhile.
            PluginError: When the new version cannot be loaded or started.
        """
        try:
            # Not under the lock: a slow server must not hold up who changes or removes the plugin.
            fetched = config.vm_config.url is not None
            source = read_source(config.vm_config, refresh=refresh) if fetched else None
            with self._lock:
                if self._removed:
                    raise PluginNotFoundError(self.name)
                self._update(config, source)
        except PluginNotFoundError:
            raise
        except SameConfigError:
            self.last_error = None
            raise
        except Exception as error:
            self.last_error = str(error)
            raise
        self.last_error = None

    def _update(self, config: PluginConfig, source: ModuleSource | None) -> None:
        old = self.plugin
        source = source or read_source(config.vm_config)
        same_module = source.sha256 == old.source.sha256
        if same_module and config == old.config:
            raise SameConfigError(f"plugin {self.name!r}: nothing has changed")
        resized = old.config.model_copy(update={"instance_num": config.instance_num})
        if same_module and config == resized:
            self._resize(old, config)
            return
        new = Plugin.load(config, self._host, source)
        try:
            self._announce(new, old)
        except BaseException:
            new.close()
            raise
        self.plugin = new
        self.reloads += 1
        self._dismiss(old)
        _log.info("plugin %s: version %d serves, %d retires", self.name, new.version, old.version)

    def _resize(self, plugin: Plugin, config: PluginConfig) -> None:
        """Change the number of instances; handlers that were told of it hear when it fails."""
        try:
            for handler in self._handlers:
                handler.on_config_update(config)
            plugin.pool.resize(config.instance_num)
        except BaseException:
            for handler in self._handlers:
                self._tell(handler.on_config_update, plugin.config)
            raise
        plugin.config = config

    def _dismiss(self, plugin: Plugin) -> None:
        for handler in self._handlers:
            self._tell(handler.on_plugin_destroy, plugin)
        self._retire(plugin)

    def remove(self) -> None:
        """Serve nothing more."""
        with self._lock:
            self._removed = True
            self._dismiss(self.plugin)
