"""What comes before the first request: compiling, loading, instantiating, starting."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from anywasm.abi.guest import Guest
from anywasm.abi.host import HostServices
from anywasm.abi.plugin import PluginIdentity
from anywasm.benchmarks.child import run_child
from anywasm.benchmarks.filters import PACKAGE, wheel_folders
from anywasm.benchmarks.guests import code
from anywasm.benchmarks.stage import Filter
from anywasm.benchmarks.suite import Measure, Options
from anywasm.core.artifact_cache import ArtifactCache
from anywasm.core.errors import AbiError
from anywasm.core.module import Module
from anywasm.core.vm import VM

_MOST = 8 << 20


def _rounds(options: Options) -> int:
    return 10 if options.quick else 50


def bench_compile(measure: Measure, vm: VM, options: Options) -> None:
    """Compile a function of 5 KB."""
    wasm = code(vm, "function_2")
    measure.single_calls(
        "compile, 5 KB",
        lambda: vm.compile(wasm).close(),
        _rounds(options),
    )


def bench_load(measure: Measure, vm: VM, options: Options) -> None:
    """Load the same from an artifact."""
    if not vm.capabilities.serialize:
        pytest.skip("the engine has no artifacts")
    with vm.compile(code(vm, "function_2")) as module:
        artifact = module.serialize()
    measure.single_calls("load artifact, 5 KB", lambda: vm.load(artifact).close(), _rounds(options))


def bench_cache(measure: Measure, vm: VM, options: Options, tmp_path: Path) -> None:
    """Find it in the cache on disk, check and map it."""
    if not vm.capabilities.serialize:
        pytest.skip("the engine has no artifacts")
    cache = ArtifactCache(tmp_path / "artifacts")
    with vm.compile(code(vm, "function_2")) as module:
        cache.store(vm, "0" * 64, module)

    def load() -> None:
        found = cache.load(vm, "0" * 64)
        assert found is not None
        found.close()

    measure.single_calls("load from the cache, 5 KB", load, _rounds(options))


def bench_instantiate(measure: Measure, vm: VM) -> None:
    """Instantiate and close a module without imports."""
    with vm.compile(code(vm, "kernels")) as module:
        measure.calls("instantiate and close", lambda: module.instantiate().close())


def bench_start(measure: Measure, vm: VM) -> None:
    """Instantiate, bind host functions and callbacks, start and configure; and end again."""
    with vm.compile(code(vm, "function_2")) as module:
        measure.calls("ABI start and end", lambda: Filter(module).close())


def bench_first_request(measure: Measure, vm: VM, options: Options) -> None:
    """A fresh process, from its start to its first answer."""
    rounds: dict[str, list[float]] = {}
    for _ in range(3 if options.quick else 15):
        began = time.perf_counter()
        stages = run_child("first", vm.name)
        stages["all of it, and Python itself"] = time.perf_counter() - began
        for stage, seconds in stages.items():
            rounds.setdefault(stage, []).append(seconds)
    for stage, values in rounds.items():
        measure.values(f"fresh process: {stage}", "s", values)


@pytest.fixture
def large(options: Options) -> bytes:
    """The largest module of up to 8 MiB in the folder of `--wheels`, or of the package."""
    paths = [path for folder in wheel_folders(options) for path in folder.rglob("*.wasm")]
    sizes = {path: path.stat().st_size for path in paths}
    fitting = [path for path in paths if 1 << 20 <= sizes[path] <= _MOST]
    if not fitting:
        pytest.skip(f"no large module: install {PACKAGE}, or name a folder with --wheels")
    return max(fitting, key=lambda path: (sizes[path], path)).read_bytes()


def bench_large(measure: Measure, vm: VM, options: Options, large: bytes, tmp_path: Path) -> None:
    """Compile, load and initialize a large proxy-wasm module."""
    if not vm.capabilities.wasm:
        pytest.skip("the engine runs no WebAssembly")
    size = f"{len(large) / (1 << 20):.1f} MiB"
    rounds: dict[str, list[float]] = {}
    for _ in range(1 if options.quick else 3):
        module = _timed(rounds, f"compile, {size}", lambda: vm.compile(large))
        if vm.capabilities.serialize:
            artifact = module.serialize()
            _timed(rounds, f"load artifact, {size}", partial(vm.load, artifact)).close()
            path = tmp_path / "artifact"
            path.write_bytes(artifact)
            _timed(rounds, f"load artifact file, {size}", partial(vm.load_file, path)).close()
        began = time.perf_counter()
        with suppress(AbiError):  # it may want a host of its own kind
            Guest(module, PluginIdentity("bench"), HostServices()).close()
            case = f"instantiate and initialize, {size}"
            rounds.setdefault(case, []).append(time.perf_counter() - began)
        module.close()
    for case, values in rounds.items():
        measure.values(case, "s", values)


def _timed(rounds: dict[str, list[float]], case: str, make: Callable[[], Module]) -> Module:
    began = time.perf_counter()
    module = make()
    rounds.setdefault(case, []).append(time.perf_counter() - began)
    return module
