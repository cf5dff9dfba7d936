"""What a plugin may use of its host."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from anywasm.plugins.config.model import Name, NotEmpty

_KEY = "allowed_capabilities"


def _names(value: object) -> object:
    """The names in Envoy's `capability_restriction_config`; a list as it is."""
    if not isinstance(value, dict):
        return value
    allowed = value.get(_KEY)
    if set(value) != {_KEY} or not isinstance(allowed, dict):
        raise ValueError(f"must be a list of names, or {{{_KEY}: {{NAME: {{}}}}}}")
    for name, restriction in allowed.items():
        if restriction:
            raise ValueError(f"{name}: must be {{}}; arguments cannot be restricted")
    return list(allowed)


#: Names of host functions, guest callbacks and WASI functions.
Capabilities = Annotated[
    tuple[Name, ...],
    NotEmpty,
    BeforeValidator(_names, json_schema_input_type=list[str] | dict[str, Any]),
]
