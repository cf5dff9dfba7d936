"""What pydantic found wrong, in words that name the remedy."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from anywasm.plugins.config.model import KeyPath, Problem

#: Values under these keys are never repeated in a message.
SECRET_KEYS = frozenset({"token", "url", "password"})

#: Names that Envoy, Istio and others use for the same things.
_SYNONYMS = {
    "capability_restriction_config": "capabilities",
    "code": "path",
    "configuration": "plugin_config",
    "domains": "virtual_host",
    "environment_variables": "env",
    "http_filters": "filters",
    "host_rewrite_literal": "host_rewrite",
    "instances": "instance_num",
    "pluginConfig": "plugin_config",
    "reload_config": "reload_backoff",
    "runtime": "engine",
    "upgrade_configs": "upgrade",
    "vm_configuration": "configuration",
}

_WORDS = {
    "missing": "required, but missing",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_type": "must be text",
    "path_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must not hold control characters",
    "string_unicode": "must be Unicode text",
}
#: Kinds of error after which the message does not repeat the value.
_WITHOUT_VALUE = frozenset({"missing", "string_too_short", "string_too_long"})


def problems_of(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """Each thing that is wrong, with its key path.

    Args:
        error: What validating raised.
        model: What was validated; known keys are suggested from it.
    """
    for details in error.errors(include_url=False):
        path = tuple(part for part in details["loc"] if part != "[key]")
        context: dict[str, Any] = details.get("ctx", {})
        if details["type"] == "cross_check":
            for below, message in context["problems"]:
                yield (*path, *below), message
        elif details["type"] == "extra_forbidden":
            yield path, _unknown_key(path, model)
        elif details["type"] == "value_error":
            yield path, str(context["error"])
        else:
            yield path, _message(path, details)


def _message(path: KeyPath, details: ErrorDetails) -> str:
    kind, value = details["type"], details["input"]
    message = _WORDS.get(kind)
    if message is None:
        text = details["msg"].removeprefix("Input ").removeprefix("String ")
        message = text.replace("should", "must", 1)
    shown = f", not {_shown(value)}"
    if kind in _WITHOUT_VALUE or SECRET_KEYS.intersection(path):
        shown = ""
    remedy = "; put it in quotes" if kind == "string_type" and _is_scalar(value) else ""
    return message + shown + remedy


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, int, float)) or value is None


def _shown(value: object) -> str:
    if isinstance(value, str) and "://" in value:
        return "a URL"  # it may hold a password, whatever key it stands under
    if _is_scalar(value):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= 40 else text[:36] + " ..."
    return "a list" if isinstance(value, (list, tuple)) else "a mapping"


def _unknown_key(path: KeyPath, model: type[BaseModel]) -> str:
    key = str(path[-1])
    known = list(_model_at(path[:-1], model).model_fields)
    synonym = _SYNONYMS.get(key)
    near = [synonym] if synonym in known else difflib.get_close_matches(key, known, 1)
    if near:
        return f'unknown key; did you mean "{near[0]}"?'
    return f"unknown key; known: {', '.join(known)}"


def _model_at(path: KeyPath, model: type[BaseModel]) -> type[BaseModel]:
    for part in path:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        model = (_model_in(field.annotation) if field is not None else None) or model
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field's type holds, also inside a tuple, a dict or an optional."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        if (found := _model_in(argument)) is not None:
            return found
    return None
