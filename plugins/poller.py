"""Looks for newer modules at URLs and in registries while the plugins serve."""

from __future__ import annotations

import logging
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from anywasm.core.errors import AnyWasmError
from anywasm.core.threads import patience
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginNotFoundError, SameConfigError
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.plugin import Plugin

_log = logging.getLogger("anywasm.plugins")

#: How many plugins are looked for at a time: a slow server must not keep the others waiting.
AT_ONCE = 4


class PluginPoller:
    """Reloads the plugins that have a `fetch.interval` when there is a new module for them.

    Each interval is up to 10 % longer or shorter, so that many hosts do not ask at the same moment.
    What fails leaves the plugin as it is, and is asked again after the next interval.

    Args:
        manager: Whose plugins; this becomes one of its handlers.
    """

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager
        self._changed = threading.Condition()
        #: When each plugin is due, by `time.monotonic`, and its interval.
        self._due: dict[str, tuple[float, float]] = {}
        self._closed = False
        self._threads = ThreadPoolExecutor(AT_ONCE, "anywasm-poll")
        #: Made for the first plugin that there is to look for.
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, in threads of its own, once there is something to look for."""
        self._manager.add_handler(self)

    def close(self) -> None:
        """Look no more; what is being fetched is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
        self._threads.shutdown(wait=False, cancel_futures=True)

    # --- as a PluginHandler ---

    def on_config_update(self, config: PluginConfig) -> None:
        """Look for the plugin's module at its interval, from now on."""
        interval = config.vm_config.fetch.interval if config.vm_config.url is not None else 0.0
        with self._changed:
            if interval:
                self._plan(config.name, interval)
            else:
                self._due.pop(config.name, None)

    def on_plugin_start(self, plugin: Plugin) -> None:
        """Nothing to do."""

    def on_plugin_destroy(self, plugin: Plugin) -> None:
        """Look no more for a plugin that is gone, and not merely replaced."""
        if any(wrapper.name == plugin.name for wrapper in self._manager.list()):
            return
        with self._changed:
            self._due.pop(plugin.name, None)

    # --- the threads ---

    def _plan(self, name: str, interval: float) -> None:
        self._due[name] = (time.monotonic() + interval * random.uniform(0.9, 1.1), interval)
        self._changed.notify_all()
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="anywasm-poll", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for name, (due, _) in list(self._due.items()):
                    if due <= now:
                        # It is planned again once it is done.
                        self._due[name] = (float("inf"), self._due[name][1])
                        self._threads.submit(self._look, name)
                soonest = min((due for due, _ in self._due.values()), default=float("inf"))
                with patience:
                    self._changed.wait(None if soonest == float("inf") else max(0.0, soonest - now))

    def _look(self, name: str) -> None:
        try:
            self._manager.reload(name)
        except (PluginNotFoundError, SameConfigError) as error:
            _log.debug("plugin %s: there is no newer module: %s", name, error)
        except AnyWasmError as error:
            _log.error("plugin %s: no newer module is taken up: %s", name, error)
        except Exception:  # of a handler; the plugin is looked for again
            _log.exception("plugin %s: no newer module is taken up", name)
        with self._changed:
            if name in self._due and not self._closed:
                self._plan(name, self._due[name][1])
