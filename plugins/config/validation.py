"""From what a document says to a model of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from anywasm.core.errors import ConfigError
from anywasm.plugins.config.document import Document
from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.config.problems import problems_of
from anywasm.plugins.config.translation import Translation

M = TypeVar("M", bound=BaseModel)


def validate(
    model: type[M],
    document: Document,
    data: dict[str, Any],
    origin: Callable[[KeyPath], KeyPath] = lambda key_path: key_path,
) -> M:
    """Validate what a document says.

    Args:
        model: What it should be.
        document: Where it stands.
        data: What it says in the project's own schema.
        origin: Where in the document a key path of `data` came from.

    Raises:
        ConfigError: One line for each thing that is wrong.
    """
    folder = document.folder
    try:
        return model.model_validate(data, context={"folder": folder} if folder else None)
    except ValidationError as error:
        problems = [(origin(key_path), message) for key_path, message in problems_of(error, model)]
        raise ConfigError("\n".join(document.describe_all(problems))) from None


def refuse_problems(document: Document, translation: Translation) -> None:
    """Refuse what could not be translated.

    Raises:
        ConfigError: One line for each problem.
    """
    if translation.problems:
        raise ConfigError("\n".join(document.describe_all(translation.problems)))
