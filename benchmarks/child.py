"""Measurements that need a process of their own: `python -m anywasm.benchmarks.child WHAT ENGINE`.

Prints one JSON object. `first` times the way to the first answer, in seconds; `idle` tells the
bytes of memory of a process with each COUNT of idle plugins.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_child(what: str, engine: str, *args: object) -> dict[str, float]:
    """Measure in a fresh process.

    Raises:
        RuntimeError: When it failed; with what it said.
    """
    command = [sys.executable, "-m", __name__, what, engine, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{what} on {engine} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def first(engine: str) -> dict[str, float]:
    """Seconds until the engine was there, the filter's guest had started, and it had answered."""
    began = time.perf_counter()
    from anywasm.benchmarks.guests import code
    from anywasm.benchmarks.stage import Filter
    from anywasm.core.registry import get_wasm_engine

    imported = time.perf_counter()
    vm = get_wasm_engine(engine)
    loaded = time.perf_counter()
    module = vm.compile(code(vm, "header"))
    compiled = time.perf_counter()
    stage = Filter(module)
    started = time.perf_counter()
    stage.headers()
    answered = time.perf_counter()
    stage.close()
    return {
        "import anywasm": imported - began,
        "load the engine": loaded - imported,
        "compile": compiled - loaded,
        "ABI start": started - compiled,
        "first stream": answered - started,
        "all of it": answered - began,
    }


def idle(engine: str, *counts: str) -> dict[str, float]:
    """Bytes of resident memory with so many idle plugins; the counts grow."""
    from anywasm.abi.host import HostServices
    from anywasm.benchmarks.guests import write
    from anywasm.core.registry import get_wasm_engine
    from anywasm.plugins.config import PluginConfig
    from anywasm.plugins.host import PluginHost
    from anywasm.plugins.manager import PluginManager

    manager = PluginManager(PluginHost(HostServices()))
    vm = get_wasm_engine(engine)
    with tempfile.TemporaryDirectory(prefix="anywasm-bench-") as folder:
        vm_config = {"engine": engine, "path": str(write(vm, "function_2", Path(folder)))}
        found: dict[str, float] = {}
        for number in range(1, int(counts[-1]) + 1):
            config = {"name": f"plugin {number}", "vm_config": vm_config}
            manager.add(PluginConfig.model_validate(config))
            if str(number) in counts:
                found[str(number)] = resident()
        manager.close()
    return found


def resident() -> float:
    """Bytes of memory that this process has in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


_MEASUREMENTS: dict[str, Callable[..., dict[str, Any]]] = {"first": first, "idle": idle}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(_MEASUREMENTS[sys.argv[1]](*sys.argv[2:])))
