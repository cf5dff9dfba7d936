"""Listeners that this server and Envoy can both have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

BODY = "ok\n"
#: A machine that is busy with other things delays requests, and should not make them fail.
PATIENCE = {"call": 30, "request": 60, "lease": 30}
#: What teaches the null engine its guests.
SETUP = "anywasm.benchmarks.guests:register"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A listener with at most one filter.

    Attributes:
        case: How its results are called.
        wasm: The only filter's module, or None for none.
        config: The filter's configuration.
        upstream: The port behind it on 127.0.0.1; None for a direct response.
    """

    case: str
    wasm: Path | None = None
    config: Any = None
    upstream: int | None = None

    def server_config(self, engine: str) -> dict[str, Any]:
        """What this server is told."""
        route: dict[str, Any] = {"prefix": "/"}
        clusters = []
        if self.upstream is None:
            route["direct_response"] = {"body": BODY}
        else:
            route["cluster"] = "up"
            clusters = [{"name": "up", "endpoints": [f"127.0.0.1:{self.upstream}"]}]
        plugins = []
        if self.wasm is not None:
            vm = {"engine": engine, "path": str(self.wasm)}
            plugin = {"name": "filter", "vm_config": vm, "timeouts": PATIENCE}
            plugins = [{**plugin, "plugin_config": self.config}]
        listener = {"name": "gateway", "address": "127.0.0.1:0", "routes": [route]}
        listener["filters"] = [plugin["name"] for plugin in plugins]
        return {"listeners": [listener], "plugins": plugins, "clusters": clusters}
