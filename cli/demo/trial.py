"""The quickstart on one engine: started, asked, timed, stopped."""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anywasm.cli.demo.server import ServerProcess
from anywasm.cli.demo.store import KEY, VALUE
from anywasm.core.errors import AnyWasmError
from anywasm.core.vm import VM
from anywasm.sdk import guest_path

FUNCTIONS = ("function_1", "function_2")
ID, TARGET = "id_1", f"/?name={KEY}"
EXPECTED = f"There are {VALUE} inventories for {KEY}."
#: What teaches the null engine the two functions.
NULL_SETUP = "anywasm.testing.quickstart:register_quickstart"

_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Attributes:
        answer: The body of the first answer, or of the first wrong one.
        error: What went wrong, or None when every answer was right.
        cold_ms: Milliseconds from starting the server process to the first answer.
        warm_us: Microseconds per request after that, the median, on one connection.
        requests: How many requests that median is of.
    """

    answer: str | None = None
    error: str | None = None
    cold_ms: float | None = None
    warm_us: float | None = None
    requests: int = 0


def run_trial(vm: VM, store: str, requests: int, folder: Path, check: Callable[[], None]) -> Trial:
    """Serve the quickstart on `vm`'s engine, in a process of its own, and ask it over HTTP.

    Args:
        vm: The engine.
        store: URL of the state store.
        requests: How many requests to time after the first.
        folder: An empty folder for the configuration.
        check: Called before each of those requests; what it raises ends the trial.
    """
    config = _write_config(vm, store, folder)
    setup = None if vm.capabilities.wasm else NULL_SETUP
    began = time.perf_counter()
    with ServerProcess(config, setup) as server:
        try:
            server.wait()
            return _ask(server, began, requests, check)
        except (AnyWasmError, OSError, http.client.HTTPException) as error:
            return Trial(error=str(error) or type(error).__name__)


def _write_config(vm: VM, store: str, folder: Path) -> Path:
    plugins = []
    for name in FUNCTIONS:
        path = guest_path(name)
        if not vm.capabilities.wasm:
            path = folder / name
            path.write_text(name)
        plugins.append({"name": name, "vm_config": {"engine": vm.name, "path": str(path)}})
    config = folder / "config.json"
    config.write_text(
        json.dumps(
            {
                "listeners": [{"name": "functions", "address": "127.0.0.1:0"}],
                "plugins": plugins,
                "state_stores": {"state_demo": {"type": "redis", "url": store}},
                "watch": False,
            }
        )
    )
    return config


def _ask(server: ServerProcess, began: float, requests: int, check: Callable[[], None]) -> Trial:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_TIMEOUT)
    try:
        status, answer = _get(connection)
        cold = time.perf_counter() - began
        times: list[float] = []
        while status == 200 and answer == EXPECTED and len(times) < requests:
            check()
            start = time.perf_counter()
            status, answer = _get(connection)
            times.append(time.perf_counter() - start)
    finally:
        connection.close()
    if status != 200 or answer != EXPECTED:
        error = f"wrong answer with status {status}, instead of {EXPECTED!r}"
        reason = f"; the server: {server.complaint}" if server.complaint else ""
        return Trial(answer, error + reason)
    median = statistics.median(times) * 1e6
    return Trial(answer, None, round(cold * 1e3, 1), round(median, 1), len(times))


def _get(connection: http.client.HTTPConnection) -> tuple[int, str]:
    connection.request("GET", TARGET, headers={"id": ID})
    # Closed here and not by its finalizer, out of which no exception comes, Ctrl-C's neither.
    with connection.getresponse() as response:
        return response.status, response.read().decode(errors="backslashreplace")
