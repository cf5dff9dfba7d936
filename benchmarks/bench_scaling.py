"""What grows: memory with the number of plugins, time with the size of bodies."""

from __future__ import annotations

import sys
from contextlib import closing

import pytest

from anywasm.benchmarks.child import run_child
from anywasm.benchmarks.guests import code
from anywasm.benchmarks.stage import Filter
from anywasm.benchmarks.suite import Measure, Options
from anywasm.core.vm import VM

PLUGINS = 100


def bench_idle_plugins(measure: Measure, vm: VM, options: Options) -> None:
    """Memory of a process with 1 to 100 idle plugins of one module."""
    if sys.platform != "linux":
        pytest.skip("memory is read from /proc")
    found = [run_child("idle", vm.name, PLUGINS) for _ in range(1 if options.quick else 5)]
    for count in ("1", str(PLUGINS)):
        measure.values(f"process with {count} idle plugins", "bytes", [run[count] for run in found])
    each = [max(0.0, run[str(PLUGINS)] - run["1"]) / (PLUGINS - 1) for run in found]
    measure.values("each further idle plugin", "bytes", each)


@pytest.mark.parametrize("size", [1, 1 << 10, 1 << 16, 1 << 20])
def bench_body(measure: Measure, vm: VM, size: int) -> None:
    """A filter that reads a body and writes it back."""
    with vm.compile(code(vm, "body")) as module, closing(Filter(module)) as stage:
        assert stage.body(b"x" * size) == b"x" * size
        measure.calls(f"body of {size} B read and written", stage.body, b"x" * size)
