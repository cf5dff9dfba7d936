"""This host, set up as the recording one was."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pydantic import ValidationError

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import AppConfig
from anywasm.plugins.config.model import key_path_text
from anywasm.plugins.config.problems import problems_of
from anywasm.server.server import Server
from anywasm.testing.golden.case import Case
from anywasm.testing.golden.improvements import loops

T = TypeVar("T")

#: The port that stands for the echo server in `services`.
ECHO_PORT = 18082
#: The recording host's route timeout in seconds, longer than any request of a case may take.
ROUTE_TIMEOUT = 10

_LISTENER = "golden"
#: Seconds that stopping may take, running requests included.
_DRAIN = 2.0
#: Seconds for each phase of a start, and for any other call, on a machine that is busy with others.
_START, _CALL = 300.0, 30.0


class DeadPort:
    """A port of 127.0.0.1 that refuses connections, and that nobody else gets meanwhile."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        # Bound without listening.
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> DeadPort:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()


def host_config(
    case: Case,
    wasm: Path,
    engine: str,
    echo_port: int,
    dead_port: int,
    profile: str | None = "envoy",
) -> AppConfig:
    """What this host is told for a case.

    Args:
        case: The case.
        wasm: Its module.
        engine: The engine to run it on.
        echo_port: Where the echo server listens, on 127.0.0.1.
        dead_port: Where nothing does.
        profile: Whose extras the guest finds; None lets its ABI decide.

    Raises:
        ConfigError: When the case asks for something that cannot be.
    """
    vm_config: dict[str, Any] = {
        "engine": engine,
        "path": str(wasm),
        "vm_id": case.vm_id,
        "env": case.opts.env,
    }
    if case.opts.vm_config is not None:
        vm_config["configuration"] = case.opts.vm_config
    plugin: dict[str, Any] = {
        "name": case.plugin_name or case.id,
        "vm_config": vm_config,
        "root_id": case.root_id,
        "plugin_config": case.plugin_config,
        "failure_policy": case.failure_policy,
        "profile": profile,
        "allow_on_headers_stop_iteration": case.plugin_config_extra.allow_on_headers_stop_iteration,
    }
    # Envoy has no deadlines. A guest of some megabytes may take long to start on an interpreter.
    plugin["timeouts"] = {"start": _START}
    if not loops(case):
        plugin["timeouts"]["call"] = _CALL
    if case.capabilities is not None:
        plugin["capabilities"] = case.capabilities
    clusters = {"up": echo_port, "dead": dead_port}
    for name, port in case.services:
        clusters[name] = echo_port if port == ECHO_PORT else port
    return _config(plugin, clusters)


def _config(plugin: Mapping[str, Any], clusters: Mapping[str, int]) -> AppConfig:
    direct = {"body": "direct ok\n", "headers": {"content-type": "text/plain"}}
    data = {
        "listeners": [
            {
                "name": _LISTENER,
                "address": "127.0.0.1:0",
                "filters": [plugin["name"]],
                "virtual_host": "vh",
                "generate_request_id": False,
                "use_remote_address": False,
                "routes": [
                    {"name": "r-direct", "prefix": "/direct", "direct_response": direct},
                    {"name": "r-up", "prefix": "/", "cluster": "up", "timeout": ROUTE_TIMEOUT},
                ],
            }
        ],
        "plugins": [plugin],
        "clusters": [
            {"name": name, "endpoints": [f"127.0.0.1:{port}"]} for name, port in clusters.items()
        ],
        "node_id": "node-1",
        "watch": False,
        "drain_timeout": _DRAIN,
    }
    try:
        return AppConfig.model_validate(data)
    except ValidationError as error:
        lines = (f"{key_path_text(place)}: {what}" for place, what in problems_of(error, AppConfig))
        raise ConfigError("\n".join(lines)) from None


class Host:
    """A server in a thread of its own, from entering to leaving.

    Args:
        config: What it serves.

    Raises:
        AnyWasmError: On entry, when it refuses to start.
    """

    def __init__(self, config: AppConfig) -> None:
        self._server = Server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="golden-host")

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        address = self._server.listeners[_LISTENER].addresses[0]
        return int(address[1])

    def __enter__(self) -> Host:
        self._thread.start()
        try:
            self._run(self._server.start())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        try:
            self._run(self._server.stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
