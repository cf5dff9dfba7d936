"""All plugins of a process: added, updated, listed, removed."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from enum import Enum

from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginExistsError, PluginNotFoundError
from anywasm.plugins.handler import PluginHandler
from anywasm.plugins.host import PluginHost
from anywasm.plugins.plugin import Plugin
from anywasm.plugins.wrapper import PluginWrapper

_log = logging.getLogger("anywasm.plugins")


class Change(str, Enum):
    """What `add_or_update` did."""

    ADDED = "added"
    UPDATED = "updated"


class PluginManager:
    """The plugins by name. Thread-safe; changes to different plugins run side by side.

    Args:
        host: The process, as plugins see it.
        drain_timeout: Seconds that a replaced plugin gets to finish what runs in it.
    """

    def __init__(self, host: PluginHost, drain_timeout: float = 10.0) -> None:
        self._host = host
        self._drain_timeout = drain_timeout
        self._handlers: list[PluginHandler] = []
        self._lock = threading.Lock()
        self._wrappers: dict[str, PluginWrapper] = {}
        self._changing: set[str] = set()
        self._retiring: set[threading.Thread] = set()

    def add_handler(self, handler: PluginHandler) -> None:
        """Tell `handler` about every change from now on, and about the plugins that serve now."""
        with self._lock:
            if handler in self._handlers:
                return
            self._handlers.append(handler)
            plugins = [wrapper.plugin for wrapper in self._wrappers.values()]
        for plugin in plugins:
            handler.on_config_update(plugin.config)
            handler.on_plugin_start(plugin)

    def add(self, config: PluginConfig) -> None:
        """Load and start a plugin, and let it serve.

        Raises:
            PluginExistsError: When there is one of that name.
            PluginError: When it cannot be loaded or started; nothing has changed then.
        """
        with self._lock:
            if config.name in self._wrappers or config.name in self._changing:
                raise PluginExistsError(f"plugin {config.name!r} is installed already")
            self._changing.add(config.name)
        try:
            plugin = Plugin.load(config, self._host)
            try:
                wrapper = PluginWrapper(plugin, self._host, self._handlers, self._retire)
            except BaseException:
                plugin.close()
                raise
            with self._lock:
                self._wrappers[config.name] = wrapper
        finally:
            with self._lock:
                self._changing.discard(config.name)
        _log.info("plugin %s: serves as %r on %s", plugin.name, plugin.id, plugin.module.vm.name)

    def add_or_update(self, config: PluginConfig) -> Change:
        """Add the plugin, or bring the one of that name in line with `config`.

        Raises:
            SameConfigError: When nothing has changed.
            PluginError: When it cannot be loaded or started; what served before serves on.
        """
        with self._lock:
            wrapper = self._wrappers.get(config.name)
        if wrapper is None:
            self.add(config)
            return Change.ADDED
        wrapper.update(config)
        return Change.UPDATED

    def reload(self, name: str) -> None:
        """Take up a change of the plugin's module, in its file or at its URL.

        Raises:
            PluginNotFoundError: When there is no such plugin.
            SameConfigError: When its content has not changed.
            PluginError: When the new module does not load or start; the old one serves on.
        """
        wrapper = self.get(name)
        wrapper.update(wrapper.plugin.config, refresh=True)

    def resize(self, name: str, instance_num: int) -> None:
        """Change a plugin's number of instances.

        Raises:
            PluginNotFoundError: When there is no such plugin.
            SameConfigError: When it has that many already.
            PluginError: When an instance cannot be started.
        """
        wrapper = self.get(name)
        wrapper.update(wrapper.plugin.config.model_copy(update={"instance_num": instance_num}))

    def uninstall(self, name: str) -> None:
        """Let a plugin serve nothing new, drain it and free it.

        Raises:
            PluginNotFoundError: When there is no such plugin.
        """
        with self._lock:
            wrapper = self._wrappers.pop(name, None)
            if wrapper is None:
                raise PluginNotFoundError(name, tuple(self._wrappers))
            self._changing.add(name)  # nobody adds it again before all have heard that it is gone
        try:
            wrapper.remove()
        finally:
            with self._lock:
                self._changing.discard(name)
        _log.info("plugin %s: uninstalled", name)

    def get(self, name: str) -> PluginWrapper:
        """The plugin of that name.

        Raises:
            PluginNotFoundError: When there is none.
        """
        wrapper = self._wrappers.get(name)
        if wrapper is None:
            raise PluginNotFoundError(name, tuple(self._wrappers))
        return wrapper

    @property
    def live_guests(self) -> int:
        """Guests that have not been freed, those of plugins that are being drained among them."""
        return sum(not guest.closed for guest in tuple(self._host.guests))

    def list(self) -> tuple[PluginWrapper, ...]:
        """All plugins, in the order in which they were added."""
        with self._lock:
            return tuple(self._wrappers.values())

    def _retire(self, plugin: Plugin) -> None:
        def drain() -> None:
            plugin.close(self._drain_timeout)
            with self._lock:
                self._retiring.discard(thread)

        name = f"anywasm-retire-{plugin.name}-{plugin.version}"
        thread = threading.Thread(target=drain, name=name, daemon=True)
        with self._lock:
            self._retiring.add(thread)
        thread.start()

    def close(self) -> None:
        """Remove every plugin and wait until all are drained. Idempotent."""
        for wrapper in self.list():
            with suppress(PluginNotFoundError):  # somebody else was faster
                self.uninstall(wrapper.name)
        with self._lock:
            retiring = tuple(self._retiring)
        for thread in retiring:
            thread.join()
