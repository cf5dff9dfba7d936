"""Takes up changed module files while the plugins serve."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import watchfiles

from anywasm.core.errors import AnyWasmError
from anywasm.core.threads import patience, patiently
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginNotFoundError, SameConfigError
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.plugin import Plugin

_log = logging.getLogger("anywasm.plugins")

#: Milliseconds of silence after which a burst of events counts as over.
DEBOUNCE_MS = 200
STEP_MS = 50
#: Seconds between two looks at a file that must not differ before it is read.
SETTLE = 0.05

Fingerprint = tuple[int, int, int]


class PluginWatcher:
    """Reloads a plugin when its module's file has a new content.

    The folders are watched, not the files, so that atomic renames, deletion and re-creation, and
    swapped symbolic links are seen. A burst of events is one reload; a file is read once its size
    and time stand still; and since a new version is started before it replaces the old one, a
    half-written file never takes a running plugin away.

    Args:
        manager: Whose plugins to watch; this becomes one of its handlers.
    """

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager
        self._lock = threading.Lock()
        self._paths: dict[str, Path] = {}
        self._seen: dict[str, Fingerprint | None] = {}
        self._changed = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="anywasm-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch, in a thread of its own."""
        self._manager.add_handler(self)
        self._thread.start()

    def close(self) -> None:
        """Watch no more."""
        self._closed.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join()

    # --- as a PluginHandler ---

    def on_config_update(self, config: PluginConfig) -> None:
        """Watch the plugin's file."""
        path = config.vm_config.path
        if path is None:
            return
        path = path.absolute()
        with self._lock:
            if self._paths.get(config.name) == path:
                return
            self._paths[config.name] = path
            # It may have changed since it was loaded; the first look tells by its content.
            self._seen[config.name] = None
        self._changed.set()

    def on_plugin_start(self, plugin: Plugin) -> None:
        """Nothing to do."""

    def on_plugin_destroy(self, plugin: Plugin) -> None:
        """Stop watching once the plugin is gone, not when it was replaced."""
        if any(wrapper.name == plugin.name for wrapper in self._manager.list()):
            return
        with self._lock:
            self._paths.pop(plugin.name, None)
            self._seen.pop(plugin.name, None)
        self._changed.set()

    # --- the thread ---

    def _folders(self) -> set[Path]:
        with self._lock:
            paths = list(self._paths.values())
        folders = {path.parent for path in paths} | {
            Path(os.path.realpath(path)).parent for path in paths
        }
        return {folder for folder in folders if folder.is_dir()}

    def _run(self) -> None:
        while not self._closed.is_set():
            self._changed.clear()
            folders = self._folders()
            if not folders:
                with patience:
                    self._changed.wait(1.0)
                continue
            try:
                changes = watchfiles.watch(
                    *folders,
                    recursive=False,
                    debounce=DEBOUNCE_MS,
                    step=STEP_MS,
                    stop_event=self._changed,
                    raise_interrupt=False,
                    yield_on_timeout=True,
                    rust_timeout=1000,
                )
                for _ in patiently(changes):
                    self._look()
                    if self._folders() != folders:
                        break
            except (OSError, RuntimeError) as error:
                _log.warning("watching %d folders failed, trying again: %s", len(folders), error)
                self._closed.wait(1.0)
            else:
                self._look()

    def _look(self) -> None:
        with self._lock:
            watched = list(self._paths.items())
        for name, path in watched:
            now = _fingerprint(path)
            if now is None or now == self._seen.get(name):
                continue
            if not _settled(path, now):
                self._changed.set()  # look again: it is still being written
                continue
            with self._lock:
                self._seen[name] = now
            self._reload(name, path)

    def _reload(self, name: str, path: Path) -> None:
        try:
            self._manager.reload(name)
        except SameConfigError:
            _log.debug("plugin %s: %s was touched but is the same", name, path)
        except PluginNotFoundError:
            _log.debug("plugin %s: was removed when %s changed", name, path)
        except AnyWasmError as error:
            _log.error("plugin %s: the change of %s is not taken up: %s", name, path, error)
        except Exception:  # of a handler; the other plugins are watched on
            _log.exception("plugin %s: the change of %s is not taken up", name, path)


def _fingerprint(path: Path) -> Fingerprint | None:
    """What tells a changed file without reading it, or None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _settled(path: Path, now: Fingerprint) -> bool:
    time.sleep(SETTLE)
    return _fingerprint(path) == now
