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

#: How many plugins a process has when its memory is read.
COUNTS = (1, 10, 100, 1000)


def bench_idle_plugins(measure: Measure, vm: VM, options: Options) -> None:
    """Memory of a process with 1 to 1,000 idle plugins of one module, each with its instance."""
    if sys.platform != "linux":
        pytest.skip("memory is read from /proc")
    counts = COUNTS[:-1] if options.quick else COUNTS
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
