"""The JSON Schema of a configuration file."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

from anywasm.plugins.config.app import AppConfig
from anywasm.plugins.config.model import Model


def config_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors and other tools.

    Each key is described as its attribute is in the source. pydantic can do this when a model is
    made, but that reads the sources again at each start.
    """
    schema = AppConfig.model_json_schema()
    definitions = {AppConfig.__name__: schema, **schema.get("$defs", {})}
    for model in _models(Model):
        properties = definitions.get(model.__name__, {}).get("properties", {})
        for name, text in _attribute_docstrings(model).items():
            field = model.model_fields.get(name)
            key = name if field is None else field.alias or name
            if key in properties:
                properties[key].setdefault("description", text)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "anywasm configuration",
    }


def _models(base: type[Model]) -> list[type[Model]]:
    return [model for child in base.__subclasses__() for model in (child, *_models(child))]


def _attribute_docstrings(model: type[Model]) -> dict[str, str]:
    """The strings that follow the attributes of a class and of those that it inherits from."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not issubclass(cls, Model):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(definition, ast.ClassDef)
        for attribute, text in zip(definition.body, definition.body[1:]):
            match attribute, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(doc))),
                ):
                    found[name] = inspect.cleandoc(doc)
    return found
