"""The one pluggy plugin manager of the process."""

from __future__ import annotations

import os
import threading
from importlib.metadata import EntryPoint, entry_points

import pluggy

from anywasm.core.hookspecs import EngineSpecs

#: The hooks of all layers. A layer's specifications are only there once it is imported, but what
#: is registered before that must not be taken for a mistake.
KNOWN_HOOKS = frozenset(
    {
        "register_abi_versions",
        "register_engines",
        "register_foreign_functions",
        "register_state_stores",
    }
)
#: Entry-point group of pluggy plugins; their modules are imported when hooks are first used.
PLUGIN_GROUP = "anywasm"
#: Comma-separated distributions or entry points that may be loaded; unset: all; empty: none.
LOAD_PLUGINS = "ANYWASM_LOAD_PLUGINS"

manager = pluggy.PluginManager("anywasm")
manager.add_hookspecs(EngineSpecs)

_lock = threading.RLock()
_loaded = False
_generation = 0


def may_load(entry: EntryPoint) -> bool:
    """Whether `ANYWASM_LOAD_PLUGINS` lets this third-party entry point be loaded."""
    allowed = os.environ.get(LOAD_PLUGINS)
    if allowed is None:
        return True
    names = {name.strip() for name in allowed.split(",")}
    return entry.name in names or (entry.dist is not None and entry.dist.name in names)


def plugin_manager() -> pluggy.PluginManager:
    """The plugin manager, with the installed third-party plugins loaded. Thread-safe."""
    global _loaded
    with _lock:
        if not _loaded:
            _loaded = True
            for entry in entry_points(group=PLUGIN_GROUP):
                if may_load(entry) and manager.get_plugin(entry.name) is None:
                    manager.register(entry.load(), name=entry.name)
    return manager


def generation() -> int:
    """A number that changes when a plugin comes or goes: to cache by what plugins have said."""
    return _generation


def register_plugin(plugin: object, name: str | None = None) -> None:
    """Register an object with `@hookimpl` functions. Thread-safe.

    Raises:
        ValueError: When it, or its name, is registered already.
        pluggy.PluginValidationError: When a function does not fit its hook's specification, or
            no layer knows its hook. The plugin is not registered then.
    """
    global _generation
    with _lock:
        manager.register(plugin, name)
        _generation += 1
        try:
            _refuse_unknown_hooks(plugin)
        except pluggy.PluginValidationError:
            manager.unregister(plugin)
            _generation += 1
            raise


def unregister_plugin(plugin: object) -> None:
    """Undo `register_plugin`. Thread-safe.

    Raises:
        ValueError: When it is not registered.
    """
    global _generation
    with _lock:
        manager.unregister(plugin)
        _generation += 1


def _refuse_unknown_hooks(plugin: object) -> None:
    for caller in manager.get_hookcallers(plugin) or ():
        if caller.has_spec() or caller.name in KNOWN_HOOKS:
            continue
        if any(not item.optionalhook for item in caller.get_hookimpls() if item.plugin is plugin):
            known = ", ".join(sorted(KNOWN_HOOKS))
            raise pluggy.PluginValidationError(
                plugin, f"unknown hook {caller.name!r}; known: {known}"
            )
