"""From a file to a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anywasm.plugins.config import envoy, layotto
from anywasm.plugins.config.address import Address
from anywasm.plugins.config.app import AppConfig
from anywasm.plugins.config.document import Document, read_documents
from anywasm.plugins.config.filters import are_filters, load_filters, only
from anywasm.plugins.config.listener import ListenerConfig
from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.config.route import DirectResponseConfig, RouteConfig
from anywasm.plugins.config.validation import refuse_problems, validate

#: Where filters are served that were described without a listener.
FILTERS_ADDRESS = Address("127.0.0.1", 8080)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """What a file asks for.

    Attributes:
        config: The configuration.
        notices: What the file says without effect, or with another effect than it may seem; one
            line each, to be logged as warnings.
        describe: One line about what a key path of `config` turned out to be: begins with the file
            and, as far as it is known, the line and the key path in it.
    """

    config: AppConfig
    notices: tuple[str, ...]
    describe: Callable[[KeyPath, str], str]


def load_config(path: Path) -> LoadedConfig:
    """Read a configuration, in YAML or JSON.

    It may be written in the project's own schema, or be Layotto's configuration, Envoy's bootstrap
    configuration, the `typed_config` of Envoy's Wasm filter, or Istio's or Higress's `WasmPlugin`.
    Relative module paths start at the file's folder; in Layotto's and Envoy's configuration at the
    working directory, and at the file's folder where there is no such file.

    Raises:
        ConfigError: One line for each thing that is wrong, naming file, line, key path, remedy.
    """
    documents = read_documents(path)
    if are_filters(documents):
        return _filters_alone(documents)
    document = only(documents)
    if layotto.is_layotto(document.data):
        translation = layotto.translate(document.data, path.absolute().parent)
    elif envoy.is_bootstrap(document.data):
        translation = envoy.translate_bootstrap(document.data, document.folder)
    else:
        config = validate(AppConfig, document, document.data)
        for name, store in config.state_stores.items():
            store.placed(document.place(("state_stores", name)))
        if config.shared_store is not None:
            config.shared_store.placed(document.place(("shared_store",)))
        return LoadedConfig(config, (), document.describe)
    refuse_problems(document, translation)
    config = validate(AppConfig, document, translation.data, translation.origin)
    for name, store in config.state_stores.items():
        store.placed(document.place(translation.origin(("state_stores", name))))
    return LoadedConfig(
        config,
        document.describe_all(translation.notices),
        lambda key_path, message: document.describe(translation.origin(key_path), message),
    )


def _filters_alone(documents: tuple[Document, ...]) -> LoadedConfig:
    """A listener around filters that come without one."""
    loaded = load_filters(documents)
    listener = ListenerConfig(
        name="filters",
        address=FILTERS_ADDRESS,
        filters=tuple(plugin.name for plugin in loaded.filters),
        routes=(RouteConfig(direct_response=DirectResponseConfig(body="ok\n")),),
    )
    notice = documents[0].describe(
        (), f'there is no listener; {FILTERS_ADDRESS} answers 200 "ok" behind the filters'
    )
    config = AppConfig(listeners=(listener,), plugins=loaded.filters)
    return LoadedConfig(
        config,
        (*loaded.notices, notice),
        # The listener is nowhere in the file, and the filters are in another order there.
        lambda key_path, message: f"{documents[0].path}: {message}",
    )
