"""What grows: memory with plugins, time with bodies, both with the processes that serve."""

from __future__ import annotations

import json
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from anywasm.benchmarks.child import run_child
from anywasm.benchmarks.gateway import SETUP, Gateway
from anywasm.benchmarks.guests import code, write
from anywasm.benchmarks.load import load, shared_memory, tool
from anywasm.benchmarks.stage import Filter
from anywasm.benchmarks.suite import Measure, Options
from anywasm.cli.demo.server import ServerProcess
from anywasm.core.vm import VM

#: How many plugins a process has when its memory is read.
COUNTS = (1, 10, 100, 1000)


def _powers(most: int) -> list[int]:
    """1, 2, 4 and so on, and at last `most`."""
    return [*(1 << power for power in range((most - 1).bit_length())), most]


def bench_idle_plugins(measure: Measure, vm: VM, options: Options) -> None:
    """Memory of a process with 1 to 1,000 idle plugins of one module, each with its instance."""
    if sys.platform != "linux":
        pytest.skip("memory is read from /proc")
    counts = COUNTS[:2] if options.quick else COUNTS
    found = [run_child("idle", vm.name, *counts) for _ in range(1 if options.quick else 3)]
    for count in counts:
        title = f"process with {count} idle plugin{'s' if count > 1 else ''}"
        measure.values(title, "bytes", [run[str(count)] for run in found])
    most = counts[-1]
    each = [max(0.0, run[str(most)] - run["1"]) / (most - 1) for run in found]
    measure.values("each further idle plugin", "bytes", each)


@pytest.mark.parametrize("size", [1, 1 << 10, 1 << 16, 1 << 20, 10 << 20])
def bench_body(measure: Measure, vm: VM, size: int) -> None:
    """A filter that reads a body and writes it back."""
    with vm.compile(code(vm, "body")) as module, closing(Filter(module)) as stage:
        assert stage.body(b"x" * size) == b"x" * size
        measure.calls(f"body of {size} B read and written", stage.body, b"x" * size)


@pytest.mark.parametrize("count", _powers(os.cpu_count() or 1))
def bench_workers(measure: Measure, vm: VM, count: int, options: Options, tmp_path: Path) -> None:
    """A header filter in 1 process, in 2 and so on, up to one for each processor."""
    gateway = Gateway("", write(vm, "header", tmp_path))
    path = tmp_path / "config.json"
    config = {**gateway.server_config(vm.name), "workers": count, "watch": False}
    path.write_text(json.dumps(config))
    case = f"{count} worker{'s' if count > 1 else ''}"
    with ServerProcess(path, SETUP) as server:
        server.wait()
        seconds, rounds = (1.0, 1) if options.quick else (4.0, 3)
        loads = [load(server.port, server.pid, seconds, {}) for _ in range(rounds)]
        rates = [found.requests_per_second for found in loads]
        measure.values(f"{case} ({tool()})", "requests/s", rates)
        memory = shared_memory(server.pid)
        if memory is not None:
            measure.values(f"{case}, all processes", "bytes", [memory])
