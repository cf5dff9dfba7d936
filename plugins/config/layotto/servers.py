"""Servers and their listeners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anywasm.plugins.config.address import parse_address
from anywasm.plugins.config.layotto.functions import Functions
from anywasm.plugins.config.layotto.stores import add_stores
from anywasm.plugins.config.management import TOKEN_VARIABLE, environment_token
from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.config.translation import Translation

_FUNCTIONS = "Layotto"
_MANAGEMENT = "wasm_filter"
_LEVELS = {"TRACE": "debug", "DEBUG": "debug", "INFO": "info", "WARN": "warning"}


def is_layotto(data: Mapping[str, Any]) -> bool:
    """Whether a document is MOSN's or Layotto's configuration, and not the project's own."""
    return "servers" in data


def translate(data: dict[str, Any], folder: Path) -> Translation:
    """Translate a document; `folder` is that of its file."""
    translation = Translation(("servers",))
    functions = Functions(translation, data.get("wasm_global_plugins"), folder)
    for path, server in translation.mappings(data["servers"], ("servers",)):
        level = translation.text(server.get("default_log_level"), (*path, "default_log_level"))
        if level:
            translation.data["log_level"] = _LEVELS.get(level.upper(), "error")
        listeners = translation.mappings(server.get("listeners"), (*path, "listeners"))
        for here, listener in listeners:
            _Listener(translation, functions, listener, here).translate()
    functions.finish()
    if not translation.data["listeners"]:
        translation.problem(
            ("servers",),
            f'no listener has a stream filter of type "{_FUNCTIONS}", so there is nothing to serve',
        )
    ignored = [key for key in data if key not in ("servers", "wasm_global_plugins")]
    if ignored:
        translation.notice((ignored[0],), f"these blocks have no effect: {', '.join(ignored)}")
    return translation


class _Listener:
    def __init__(
        self,
        translation: Translation,
        functions: Functions,
        listener: dict[str, Any],
        path: KeyPath,
    ) -> None:
        self._translation = translation
        self._functions = functions
        self._listener = listener
        self._path = path
        address = translation.text(listener.get("address"), (*path, "address"))
        if listener.get("network") == "unix":
            address = f"unix:{address}"
        # Go listens on all interfaces where no host is named.
        self._address = f"0.0.0.0{address}" if address.startswith(":") else address
        self._name = translation.text(listener.get("name"), (*path, "name")) or address

    def translate(self) -> None:
        served = set()
        for path, item in self._translation.mappings(
            self._listener.get("stream_filters"), (*self._path, "stream_filters")
        ):
            kind = self._translation.text(item.get("type"), (*path, "type"))
            if kind == _FUNCTIONS:
                self._functions.add(item.get("config"), (*path, "config"), self._name)
            elif kind != _MANAGEMENT:
                self._translation.notice(path, f'stream filter of type "{kind}" is not served')
                continue
            served.add(kind)
        self._network_filters(bool(served))
        if not served:
            self._not_served("only WASM functions and their management API are")
        elif self._listener.get("bind_port") is False:
            self._not_served("bind_port is false")
        elif len(served) > 1:
            self._translation.problem(
                (*self._path, "stream_filters"),
                f'"{_FUNCTIONS}" and "{_MANAGEMENT}" need a listener each',
            )
        elif _FUNCTIONS in served:
            listeners = self._translation.data["listeners"]
            self._translation.map(("listeners", len(listeners)), self._path)
            listeners.append({"name": self._name, "address": self._address})
        else:
            self._management()

    def _not_served(self, reason: str) -> None:
        self._translation.notice(
            self._path, f'listener "{self._name}" ({self._address}) is not served: {reason}'
        )

    def _network_filters(self, served: bool) -> None:
        """State stores are configured in a network filter; TLS for the listener beside it."""
        chains = self._translation.mappings(
            self._listener.get("filter_chains"), (*self._path, "filter_chains")
        )
        for chain_path, chain in chains:
            for key in ("tls_context", "tls_context_set"):
                if served and _has_tls(chain.get(key)):
                    self._translation.problem(
                        (*chain_path, key), "TLS is not served; put a TLS proxy in front"
                    )
            filters = self._translation.mappings(chain.get("filters"), (*chain_path, "filters"))
            for path, item in filters:
                if item.get("type") == "grpc":
                    config = self._translation.mapping(item.get("config"), (*path, "config"))
                    here = (*path, "config", "grpc_config")
                    grpc_config = self._translation.mapping(config.get("grpc_config"), here)
                    add_stores(self._translation, grpc_config, here)

    def _management(self) -> None:
        data = self._translation.data
        if "management" in data:
            self._not_served("there is a management API already")
            return
        address = self._address
        try:
            parsed = parse_address(address)
        except ValueError:
            pass  # Said when the translation is validated.
        else:
            if not parsed.local and environment_token() is None:
                address = str(replace(parsed, host="127.0.0.1"))
                self._translation.notice(
                    (*self._path, "address"),
                    f"the management API listens on {address} instead of {self._address}; "
                    f"to open it to other machines, set {TOKEN_VARIABLE}",
                )
        data["management"] = {"address": address}
        self._translation.map(("management",), self._path)


def _has_tls(value: object) -> bool:
    if isinstance(value, list):
        return any(_has_tls(item) for item in value)
    return isinstance(value, dict) and bool(value.get("status"))
