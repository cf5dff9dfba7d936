"""The one plugin that `anywasm run` serves, of a module and whatever describes it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import LoadedFilters, PluginConfig
from anywasm.plugins.config.document import Document
from anywasm.plugins.config.filters import are_filters, load_filters
from anywasm.plugins.config.json_text import read_json
from anywasm.plugins.config.validation import validate
from anywasm.plugins.config.wasm_plugin import is_wasm_plugin
from anywasm.plugins.config.yaml_text import read_yaml


@dataclass(frozen=True, slots=True)
class Given:
    """What was given as the plugin's configuration.

    Attributes:
        content: As it was given.
        path: The file, or None.
    """

    content: bytes = b""
    path: Path | None = None

    def documents(self) -> tuple[Document, ...]:
        """What it says as YAML or JSON; nothing where it is neither: then only the guest knows."""
        try:
            text = self.content.decode("utf-8-sig")
            contents = read_json(text) if text.lstrip().startswith("{") else read_yaml(text)
        except (ConfigError, UnicodeDecodeError):
            return ()
        return tuple(
            Document(self.path, data, lines) for data, lines in contents if isinstance(data, dict)
        )


def read_given(file: str | None, text: str | None) -> Given:
    """Read what `--config` or `--config-json` gives.

    Raises:
        ConfigError: When both are given, the file cannot be read, or the text is no JSON.
    """
    if file is not None and text is not None:
        raise ConfigError("--config and --config-json exclude each other; keep one")
    if text is not None:
        try:
            json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"--config-json: not valid JSON: {error}; --config takes any text"
            ) from None
        return Given(text.encode())
    if file == "-":
        return Given(sys.stdin.buffer.read())
    if file is None:
        return Given()
    path = Path(file)
    try:
        return Given(path.read_bytes(), path)
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read: {error.strerror}") from error


def make_plugin(module: Path, given: Given, options: Mapping[str, str]) -> LoadedFilters:
    """The plugin, with what is to be said about its configuration.

    Where `given` is the `typed_config` of Envoy's Wasm filter or a `WasmPlugin`, its settings
    apply, but for the module; else it is what the guest reads.

    Args:
        module: The module's absolute path.
        given: The configuration.
        options: Keys of the plugin, and `engine`, that count more.

    Raises:
        ConfigError: For what is wrong in `given`, one line each, or when it describes several.
    """
    documents = given.documents()
    if not documents or not are_filters(documents):
        data: dict[str, Any] = {
            "name": module.stem,
            "vm_config": {"path": str(module)},
            "plugin_config": given.content,
        }
        plugin = validate(PluginConfig, Document(None, data, {}), data)
        return LoadedFilters((_with(plugin, options),))
    for document in documents:
        _replace_module(document.data, module)
    loaded = load_filters(documents)
    if len(loaded.filters) != 1:
        names = ", ".join(plugin.name for plugin in loaded.filters)
        place = documents[0].place(())
        raise ConfigError(
            f"{place}describes several filters ({names}); run takes one, start takes all of them"
        )
    return LoadedFilters((_with(loaded.filters[0], options),), loaded.notices)


def _replace_module(data: dict[str, Any], module: Path) -> None:
    if is_wasm_plugin(data):
        spec = _below(data, "spec")
        spec["url"] = module.as_uri()
        spec.pop("sha256", None)
    else:
        config = _below(data, "config")
        vm = _below(config, "vmConfig" if "vmConfig" in config else "vm_config")
        vm["code"] = {"local": {"filename": str(module)}}


def _below(data: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping under a key. What is none is left there, for the translation to refuse."""
    if data.get(key) is None:
        data[key] = {}
    value = data[key]
    return value if isinstance(value, dict) else {}


def _with(plugin: PluginConfig, options: Mapping[str, str]) -> PluginConfig:
    changes: dict[str, Any] = dict(options)
    engine = changes.pop("engine", None)
    if engine is not None:
        changes["vm_config"] = plugin.vm_config.model_copy(update={"engine": engine})
    return plugin.model_copy(update=changes)
