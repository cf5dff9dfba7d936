"""Who a plugin is, as far as its guest may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PluginIdentity:
    """One plugin, in Envoy's terms.

    Attributes:
        name: Its name (property `plugin_name`).
        root_id: Which of the module's root contexts it uses (property `plugin_root_id`).
        vm_id: The VM it shares with others (property `plugin_vm_id`).
        configuration: What the guest reads in `proxy_on_configure`.
        vm_configuration: What it reads in `proxy_on_vm_start`.
        env: The environment variables of its WASI.
        allowed_capabilities: Host functions, WASI functions and callbacks that it may use, by name;
            None for all.
        profile: `envoy`, or `higress` with Higress's properties and foreign functions.
    """

    name: str
    root_id: str = ""
    vm_id: str = ""
    configuration: bytes = b""
    vm_configuration: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    allowed_capabilities: frozenset[str] | None = None
    profile: str = "envoy"
