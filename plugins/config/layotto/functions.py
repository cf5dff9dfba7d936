"""The stream filter `Layotto`: an object of functions."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywasm.abi.pairs import encode_pairs
from anywasm.plugins.config.file_path import find_module
from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.config.translation import Translation

#: The fields of MOSN's `WasmVmConfig`, in its order: the name in Go, and the key in the file.
_VM_FIELDS = (
    ("Engine", "engine"),
    ("Path", "path"),
    ("Url", "url"),
    ("Md5", "md5"),
    ("Cpu", "cpu"),
    ("Mem", "mem"),
)


@dataclass(frozen=True, slots=True)
class GlobalPlugin:
    """An entry of `wasm_global_plugins`, which functions refer to with `from_wasm_plugin`."""

    path: KeyPath
    item: dict[str, Any]


class Functions:
    """Translates functions into plugins.

    Args:
        translation: Where to.
        global_plugins: The value of `wasm_global_plugins`.
        folder: Of the configuration file.
    """

    def __init__(self, translation: Translation, global_plugins: object, folder: Path) -> None:
        self._translation = translation
        self._folder = folder
        self._names: set[str] = set()
        self._used: set[str] = set()
        self._ignored_limits: KeyPath | None = None
        self._globals: dict[str, GlobalPlugin] = {}
        for path, item in translation.mappings(global_plugins, ("wasm_global_plugins",)):
            name = translation.text(item.get("plugin_name"), (*path, "plugin_name"))
            self._globals[name] = GlobalPlugin(path, item)

    def add(self, config: object, path: KeyPath, listener: str) -> None:
        """Translate the `config` of one filter."""
        for key, item in self._translation.mapping(config, path).items():
            here = (*path, key)
            if isinstance(item, dict):
                name = f"{listener}.{key}" if key in self._names else key
                self._add_function(name, item, here)
            else:
                self._translation.problem(
                    here, 'config not a map: must be a mapping with a "vm_config"'
                )

    def finish(self) -> None:
        """Say what had no effect in all of the filters together."""
        if self._ignored_limits is not None:
            self._translation.notice(
                self._ignored_limits, "cpu and mem have no effect (nor have they in Layotto)"
            )
        for name, plugin in self._globals.items():
            if name not in self._used:
                self._translation.notice(plugin.path, "is not loaded: no function refers to it")

    def _add_function(self, name: str, item: dict[str, Any], path: KeyPath) -> None:
        translation = self._translation
        source = GlobalPlugin(path, item)
        global_name = translation.text(item.get("from_wasm_plugin"), (*path, "from_wasm_plugin"))
        if global_name:
            if global_name not in self._globals:
                known = ", ".join(self._globals) or "none"
                translation.problem(
                    (*path, "from_wasm_plugin"),
                    f"plugin not found among wasm_global_plugins; known: {known}",
                )
                return
            source = self._globals[global_name]
            self._used.add(global_name)
        if source.item.get("vm_config") is None:
            translation.problem((*source.path, "vm_config"), "nil vm config: required, but missing")
            return
        root_path = (*path, "root_context_id")
        if translation.number(item.get("root_context_id"), root_path) not in (0, 1):
            translation.notice(root_path, "has no effect: the root context is 1")
        instances = translation.number(
            source.item.get("instance_num"), (*source.path, "instance_num")
        )
        user_data = [
            (key.encode(), value.encode())
            for key, value in item.items()
            if isinstance(value, str) and key != "from_wasm_plugin"
        ]
        own: KeyPath = ("plugins", len(translation.data["plugins"]))
        translation.map(own, path)
        translation.map((*own, "vm_config"), (*source.path, "vm_config"))
        translation.map((*own, "instance_num"), (*source.path, "instance_num"))
        translation.data["plugins"].append(
            {
                "name": name,
                "vm_config": self._vm_config(source.item["vm_config"], (*source.path, "vm_config")),
                "instance_num": instances if instances > 0 else os.cpu_count() or 1,
                "plugin_config": encode_pairs(user_data),
            }
        )
        self._names.add(name)

    def _vm_config(self, value: object, path: KeyPath) -> dict[str, Any]:
        translation = self._translation
        given = {
            key: item for key, item in translation.mapping(value, path).items() if item is not None
        }
        for key in ("cpu", "mem"):
            if translation.number(given.get(key), (*path, key)) and self._ignored_limits is None:
                self._ignored_limits = (*path, key)
        # The guest sees what MOSN prints for each field, zero values too.
        fields = [
            (name.encode(), str(given.get(key, 0 if key in ("cpu", "mem") else "")).encode())
            for name, key in _VM_FIELDS
        ]
        own: dict[str, Any] = {"configuration": encode_pairs(fields)}
        if given.get("engine"):
            own["engine"] = given["engine"]
        if given.get("path"):
            own["path"] = find_module(given["path"], self._folder)
        elif given.get("url"):
            own["url"] = given["url"]
        if given.get("md5"):
            own["md5"] = given["md5"]
        return own
