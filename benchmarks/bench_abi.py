"""What proxy-wasm costs without a server: a stream's life, and the quickstart's two functions."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from anywasm.benchmarks.filters import real_filter
from anywasm.benchmarks.guests import code
from anywasm.benchmarks.stage import ANSWER, Filter, Quickstart
from anywasm.benchmarks.suite import Measure, Options
from anywasm.core.vm import VM


@pytest.mark.usefixtures("turn")
@pytest.mark.benchmark(max_time=0.1)
def bench_header_filter(measure: Measure, vm: VM) -> None:
    """Create a stream, add one header to its response, done, log, delete."""
    with vm.compile(code(vm, "header")) as module, closing(Filter(module)) as stage:
        assert stage.headers().get(b"x-bench") == b"1"
        measure.calls("stream with one header added", stage.headers)


def bench_go_filter(measure: Measure, vm: VM, options: Options) -> None:
    """A published filter in Go with each of its callbacks: 6 exports, about 15 host calls."""
    found = real_filter("gpustack-set-header-pre-route/1.0.1", options)
    if not vm.capabilities.wasm:
        pytest.skip("the engine runs no WebAssembly")
    configuration = json.dumps(found.config).encode()
    with (
        vm.compile(found.wasm.read_bytes()) as module,
        closing(Filter(module, configuration)) as stage,
    ):
        measure.calls("Go filter, request and response", stage.exchange)


@pytest.mark.usefixtures("turn")
@pytest.mark.benchmark(max_time=0.1)
def bench_quickstart(measure: Measure, vm: VM, tmp_path: Path) -> None:
    """One function that calls another one, which reads state."""
    with closing(Quickstart(vm, tmp_path)) as quickstart:
        assert quickstart.ask() == ANSWER.encode()
        measure.calls("two functions and a state store", quickstart.ask)
