"""From a file to a configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from anywasm.core.errors import ConfigError
from anywasm.plugins.config.app import AppConfig
from anywasm.plugins.config.document import Document, read_document
from anywasm.plugins.config.layotto import is_layotto, translate
from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.config.problems import problems_of


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """What a file asks for.

    Attributes:
        config: The configuration.
        notices: What the file says without effect, or with another effect than it may seem; one
            line each, to be logged as warnings.
    """

    config: AppConfig
    notices: tuple[str, ...] = ()


def load_config(path: Path) -> LoadedConfig:
    """Read the project's own schema or Layotto's configuration, in YAML or JSON.

    Relative module paths start at the file's folder; in Layotto's configuration at the working
    directory, and at the file's folder where there is no such file.

    Raises:
        ConfigError: One line for each thing that is wrong, naming file, line, key path, remedy.
    """
    document = read_document(path)
    if not is_layotto(document.data):
        return LoadedConfig(_validate(document, document.data, lambda key_path: key_path))
    translation = translate(document.data, path.absolute().parent)
    if translation.problems:
        raise ConfigError("\n".join(document.describe_all(translation.problems)))
    config = _validate(document, translation.data, translation.origin)
    return LoadedConfig(config, document.describe_all(translation.notices))


def _validate(
    document: Document, data: dict[str, Any], origin: Callable[[KeyPath], KeyPath]
) -> AppConfig:
    try:
        config = AppConfig.model_validate(data, context={"folder": document.path.absolute().parent})
    except ValidationError as error:
        problems = [
            (origin(key_path), message) for key_path, message in problems_of(error, AppConfig)
        ]
        raise ConfigError("\n".join(document.describe_all(problems))) from None
    for name, store in config.state_stores.items():
        store.placed(document.place(origin(("state_stores", name))))
    return config
