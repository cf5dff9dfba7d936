"""Filters that are described alone, without a listener."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywasm.core.errors import ConfigError
from anywasm.plugins.config.document import Document, read_documents
from anywasm.plugins.config.envoy import is_wasm_filter, translate_filter
from anywasm.plugins.config.model import Model
from anywasm.plugins.config.plugin import PluginConfig
from anywasm.plugins.config.translation import Translation
from anywasm.plugins.config.validation import refuse_problems, validate
from anywasm.plugins.config.wasm_plugin import is_wasm_plugin, translate_wasm_plugin


@dataclass(frozen=True, slots=True)
class LoadedFilters:
    """Filters in the order in which requests pass them.

    Attributes:
        filters: The filters.
        notices: What was said without effect, or with another effect than it may seem.
    """

    filters: tuple[PluginConfig, ...]
    notices: tuple[str, ...] = ()


class _Plugins(Model):
    plugins: tuple[PluginConfig, ...]


def load_filter_config(
    source: Path | Mapping[str, Any] | Sequence[Mapping[str, Any]],
) -> LoadedFilters:
    """Read filters that are described alone.

    Known are a plugin of the project's own schema, the `typed_config` of Envoy's Wasm filter, and
    any number of Istio's or Higress's `WasmPlugin`, which are sorted by phase and priority.

    Args:
        source: A file, or what one would say. Without a file relative paths start at the working
            directory.

    Raises:
        ConfigError: One line for each thing that is wrong, naming file, line, key path, remedy.
    """
    if isinstance(source, Path):
        documents = read_documents(source)
    else:
        documents = _made(source if not isinstance(source, Mapping) else [source])
    return load_filters(documents)


def read_wasm_plugins(documents: Iterable[Mapping[str, Any]]) -> tuple[PluginConfig, ...]:
    """The filters of Istio's or Higress's `WasmPlugin` documents, by phase and priority.

    Raises:
        ConfigError: One line for each thing that is wrong.
    """
    return load_filters(_made(documents)).filters


def are_filters(documents: Sequence[Document]) -> bool:
    """Whether a file describes filters alone, in another form than the project's own."""
    return any(is_wasm_plugin(item.data) for item in documents) or (
        len(documents) == 1 and is_wasm_filter(documents[0].data)
    )


def load_filters(documents: Sequence[Document]) -> LoadedFilters:
    """As `load_filter_config`, from documents that were read already."""
    if any(is_wasm_plugin(item.data) for item in documents):
        return _wasm_plugins(documents)
    document = only(documents)
    if is_wasm_filter(document.data):
        translation = translate_filter(document.data, document.folder)
        return LoadedFilters(
            _plugins(document, translation), document.describe_all(translation.notices)
        )
    return LoadedFilters((validate(PluginConfig, document, document.data),))


def only(documents: Sequence[Document]) -> Document:
    """The one document there is.

    Raises:
        ConfigError: When there are several.
    """
    if len(documents) != 1:
        place = documents[1].place(()) if documents else ""
        raise ConfigError(f"{place}expected a single document; only WasmPlugins may be several")
    return documents[0]


def _wasm_plugins(documents: Sequence[Document]) -> LoadedFilters:
    placed: list[tuple[tuple[int, int], PluginConfig]] = []
    notices: list[str] = []
    names: set[str] = set()
    for document in documents:
        if not is_wasm_plugin(document.data):
            kind = document.data.get("kind")
            notices.append(
                document.describe((), f"{kind or 'a document'} is no WasmPlugin, left out")
            )
            continue
        translation, place = translate_wasm_plugin(document.data)
        notices += document.describe_all(translation.notices)
        for plugin in _plugins(document, translation):
            if plugin.name in names:
                message = f'"{plugin.name}" is the name of another WasmPlugin already'
                raise ConfigError(document.describe(("metadata", "name"), message))
            names.add(plugin.name)
            placed.append((place, plugin))
    if not placed:
        raise ConfigError(f"{documents[0].place(())}every WasmPlugin is disabled")
    placed.sort(key=lambda item: item[0])
    return LoadedFilters(tuple(plugin for _, plugin in placed), tuple(notices))


def _plugins(document: Document, translation: Translation) -> tuple[PluginConfig, ...]:
    refuse_problems(document, translation)
    data = {"plugins": translation.data["plugins"]}
    return validate(_Plugins, document, data, translation.origin).plugins


def _made(documents: Iterable[Mapping[str, Any]]) -> tuple[Document, ...]:
    """Documents that were never in a file, held to what a file can say."""
    try:
        read = json.loads(json.dumps(list(documents), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"must be something that JSON can say ({error})") from None
    if not all(isinstance(item, dict) for item in read):
        raise ConfigError("must be a mapping, or mappings")
    return tuple(Document(None, item, {}) for item in read)
