"""A whole configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from anywasm.plugins.config.address import Address
from anywasm.plugins.config.listener import ListenerConfig
from anywasm.plugins.config.management import ManagementConfig
from anywasm.plugins.config.model import (
    CrossCheckError,
    KeyPath,
    Model,
    Name,
    NotEmpty,
    Problem,
    Switch,
    key_path_text,
)
from anywasm.plugins.config.plugin import PluginConfig
from anywasm.plugins.config.state_store import StateStoreConfig
from anywasm.plugins.config.units import Duration


class AppConfig(Model):
    """Everything that one server process is told."""

    listeners: Annotated[tuple[ListenerConfig, ...], NotEmpty]
    """Where requests come in."""
    plugins: tuple[PluginConfig, ...] = ()
    """What answers them."""
    state_stores: dict[Name, StateStoreConfig] = Field(default_factory=dict)
    """What guests read with `proxy_get_state`, by the name they use."""
    management: ManagementConfig | None = None
    """The management API; by default there is none, `{}` opens it at its default address."""
    watch: Switch = True
    """Whether changed modules, and a changed configuration file, are taken up while running."""
    drain_timeout: Duration = 10.0
    """How long running requests may still take when a plugin is replaced or the server stops."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on is logged."""

    @model_validator(mode="after")
    def _consistent(self) -> AppConfig:
        problems = [*self._repeated(), *self._unknown_plugins()]
        if problems:
            raise CrossCheckError(problems)
        return self

    def _repeated(self) -> Iterator[Problem]:
        named: tuple[tuple[str, Sequence[ListenerConfig | PluginConfig]], ...] = (
            ("listeners", self.listeners),
            ("plugins", self.plugins),
        )
        for key, items in named:
            first: dict[str, int] = {}
            for index, item in enumerate(items):
                if first.setdefault(item.name, index) != index:
                    other = key_path_text((key, first[item.name]))
                    yield (key, index, "name"), f'"{item.name}" is the name of {other} already'
        places: list[tuple[KeyPath, Address]] = [
            (("listeners", index), listener.address)
            for index, listener in enumerate(self.listeners)
        ]
        if self.management is not None:
            places.append((("management",), self.management.address))
        taken: dict[Address, KeyPath] = {}
        for path, address in places:
            fixed = address.path is not None or address.port != 0
            if fixed and taken.setdefault(address, path) != path:
                yield (
                    (*path, "address"),
                    f"{address} is the address of {key_path_text(taken[address])} already",
                )

    def _unknown_plugins(self) -> Iterator[Problem]:
        known = [plugin.name for plugin in self.plugins]
        for index, listener in enumerate(self.listeners):
            counts: Counter[str] = Counter()
            for position, name in enumerate(listener.plugins or ()):
                path = ("listeners", index, "plugins", position)
                counts[name] += 1
                if name not in known:
                    yield path, f'unknown plugin "{name}"; known: {", ".join(known) or "none"}'
                elif counts[name] == 2:
                    yield path, f'"{name}" is listed twice'


def config_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors and other tools."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **AppConfig.model_json_schema(),
        "title": "anywasm configuration",
    }
