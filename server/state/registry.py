"""State stores by type: built in, or brought by a plugin of this package."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from anywasm.core.errors import ConfigError
from anywasm.core.hooks import plugin_manager
from anywasm.plugins.config.model import KeyPath, key_path_text
from anywasm.plugins.config.problems import problems_of
from anywasm.plugins.config.state_store import StateStoreConfig
from anywasm.server.state import hookspecs as hookspecs
from anywasm.server.state.memory import MemoryOptions, MemoryStateStore
from anywasm.server.state.redis import RedisStateStore
from anywasm.server.state.redis_options import RedisOptions

if TYPE_CHECKING:
    from anywasm.abi.host import StateStore


@dataclass(frozen=True, slots=True)
class _Type:
    options: type[BaseModel]
    open: Callable[[str, Any], StateStore]


def _types() -> dict[str, _Type]:
    types = {
        "memory": _Type(MemoryOptions, MemoryStateStore),
        "redis": _Type(RedisOptions, RedisStateStore),
    }

    def register(
        type: str, options: type[BaseModel], open: Callable[[str, Any], StateStore]
    ) -> None:
        if type in types:
            warnings.warn(
                f"state store type {type!r} of {open.__module__} is ignored: there is one already",
                stacklevel=2,
            )
        else:
            types[type] = _Type(options, open)

    plugin_manager().hook.register_state_stores(register=register)
    return types


def known_state_store_types() -> tuple[str, ...]:
    """What `type` of a state store may say here."""
    return tuple(_types())


def open_state_store(name: str, config: StateStoreConfig) -> StateStore:
    """Open one state store; the caller closes it. Does not connect yet.

    Args:
        name: What guests call it.
        config: Its type and options.

    Raises:
        ConfigError: For an unknown type, or options that its type refuses; one line each.
    """
    types = _types()
    kind = types.get(config.type)
    if kind is None:
        known = ", ".join(types)
        raise ConfigError(
            _describe(name, config, ("type",), f'unknown type "{config.type}"; known: {known}')
        )
    try:
        options = kind.options.model_validate(dict(config.options))
    except ValidationError as error:
        problems = problems_of(error, kind.options)
        raise ConfigError(
            "\n".join(_describe(name, config, path, message) for path, message in problems)
        ) from None
    try:
        return kind.open(name, options)
    except ConfigError as error:
        raise ConfigError(_describe(name, config, (), str(error))) from error.__cause__


def _describe(name: str, config: StateStoreConfig, path: KeyPath, message: str) -> str:
    return f"{config.place}{key_path_text(('state_stores', name, *path))}: {message}"
