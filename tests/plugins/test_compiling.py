"""Modules are compiled in other processes, which are bounded, and end with this one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anywasm.core.artifact_cache import ArtifactCache
from anywasm.core.errors import AnyWasmError, CompileError
from anywasm.core.hooks import register_plugin, unregister_plugin
from anywasm.core.hookspecs import hookimpl
from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.core.vm import VM
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.compiling import CompileLimitError, CompileLimits, CompilerPool
from anywasm.plugins.compiling.process import CompilerProcess
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import ModuleLimitError, PluginLoadError
from anywasm.plugins.preload import anticipate, preload
from anywasm.plugins.source import ModuleSource

EMPTY = bytes.fromhex("0061736d01000000")
#: Far more than what has to end takes, and far less than what has to be stopped.
DAY = CompileLimits(86400.0)
PATIENCE = 20.0


def _leb(number: int) -> bytes:
    data = b""
    while number > 0x7F:
        data, number = data + bytes([number & 0x7F | 0x80]), number >> 7
    return data + bytes([number])


def _functions(*bodies: bytes) -> bytes:
    code = _leb(len(bodies)) + b"".join(_leb(len(body)) + body for body in bodies)
    declared = _leb(len(bodies)) + bytes(len(bodies))
    contents = {1: b"\1\x60\0\0", 3: declared, 10: code}
    return EMPTY + b"".join(
        bytes([number]) + _leb(len(content)) + content for number, content in contents.items()
    )


#: A section of 60 MB that means nothing, of which every engine makes a copy.
LARGE = EMPTY + b"\0" + _leb(60_000_002) + b"\1x" + bytes(60_000_000)


def source(wasm: bytes, place: str = "m.wasm") -> ModuleSource:
    return ModuleSource(place, wasm, hashlib.sha256(wasm).hexdigest())


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def running(pid: int) -> bool:
    """Whether that process does anything: one whose parent does not look stays as a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def pool() -> Iterator[CompilerPool]:
    pool = CompilerPool()
    yield pool
    pool.close()
    assert not pool.pids


@pytest.fixture
def compiling(engine: str) -> str:
    """The engines that compile elsewhere at all."""
    if not get_wasm_engine(engine).capabilities.serialize:
        pytest.skip("it cannot hand over what it compiles")
    return engine


@pytest.fixture
def slow(compiling: str) -> str:
    """The engines that a module can keep for minutes."""
    if compiling == "wasm3":
        pytest.skip("it compiles in one pass, and refuses what is nested deep")
    return compiling


def test_an_artifact_comes_back(compiling: str, pool: CompilerPool) -> None:
    wasm = _functions(b"\0\x0b")
    vm = get_wasm_engine(compiling)
    module = vm.load(pool.compile(compiling, wasm, DAY, "m"))
    assert module.exports == vm.compile(wasm).exports
    module.instantiate().close()


def test_a_process_takes_the_next_module_also_after_a_refusal(
    compiling: str, pool: CompilerPool
) -> None:
    pids: set[int] = set()
    for wasm in (EMPTY, EMPTY + b"\1", EMPTY):
        with contextlib.suppress(CompileError):
            pool.compile(compiling, wasm, DAY, "m")
        pids |= pool.pids
    assert len(pids) == 1
    assert pids != {os.getpid()}
    pool.rest()
    eventually(lambda: not any(map(running, pids)))


def test_the_deadline_ends_it_and_nothing_else(
    slow: str,
    nested_loops: bytes,
    pool: CompilerPool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("anywasm.plugins.compiling.process.PROGRESS", 0.2)
    caplog.set_level("INFO")
    pool.prepare(slow)
    (pid,) = pool.pids
    with pytest.raises(
        CompileLimitError, match=r"taken 1 s .* raise vm_config.compile_timeout"
    ) as e:
        pool.compile(slow, nested_loops, CompileLimits(1.0), "loops.wasm")
    assert e.value.key == "compile_timeout"
    assert "loops.wasm: compiling for" in caplog.text
    eventually(lambda: not running(pid))
    assert pool.compile(slow, EMPTY, DAY, "m")


def test_the_memory_ends_it_and_nothing_else(compiling: str, pool: CompilerPool) -> None:
    with pytest.raises(CompileLimitError, match=r"than 64 MiB .* raise vm_config.compile_mem") as e:
        pool.compile(compiling, LARGE, CompileLimits(60.0, 64 << 20), "m")
    assert e.value.key == "compile_memory"
    # The bound was that module's alone.
    assert pool.compile(compiling, LARGE, CompileLimits(60.0, 1 << 30), "m")


def test_a_process_that_has_grown_is_not_kept(compiling: str, pool: CompilerPool) -> None:
    pool.compile(compiling, LARGE, DAY, "m")
    assert not pool.pids


def test_a_crash_is_an_error_of_its_module(
    slow: str, nested_loops: bytes, pool: CompilerPool
) -> None:
    errors: list[CompileError] = []

    def work() -> None:
        try:
            pool.compile(slow, nested_loops, DAY, "m")
        except CompileError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    eventually(lambda: pool.pids)
    os.kill(next(iter(pool.pids)), signal.SIGSEGV)
    thread.join()
    assert f"the compiler of {slow} has crashed (signal SIG" in str(errors[0])
    assert pool.compile(slow, EMPTY, DAY, "m")


def test_closing_ends_what_is_being_compiled(
    slow: str, nested_loops: bytes, pool: CompilerPool
) -> None:
    compiler = ModuleCompiler(pool=pool)
    errors: list[PluginLoadError] = []

    def work() -> None:
        try:
            compiler.compile(slow, source(nested_loops), DAY)
        except PluginLoadError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    eventually(lambda: pool.pids)
    compiler.close()
    thread.join()
    assert "stop" in str(errors[0])
    with pytest.raises(PluginLoadError, match="nothing is compiled any more"):
        compiler.compile(slow, source(EMPTY), DAY)


ORPHANS = """
import os, sys, threading, time
from anywasm.plugins.compiling import CompileLimits, CompilerPool
pool = CompilerPool()
wasm = sys.stdin.buffer.read()
arguments = sys.argv[1], wasm, CompileLimits(86400.0), "m"
threading.Thread(target=pool.compile, args=arguments, daemon=True).start()
while not pool.pids:
    time.sleep(0.01)
(pid,) = pool.pids
def ticks():
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[11])
while ticks() < 150:  # it is past its imports, and compiles
    time.sleep(0.01)
print(pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_process_does_not_outlive_its_parent(slow: str, nested_loops: bytes) -> None:
    # wasmer holds the GIL meanwhile: no thread of the process could see it.
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS, slow],
        input=nested_loops,
        stdout=subprocess.PIPE,
        check=False,
        timeout=90,
    )
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    try:
        eventually(lambda: not running(pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# --- as plugins get it ---------------------------------------------------------------------------


@pytest.fixture(params=["cached", "not cached"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactCache | None:
    return ArtifactCache(tmp_path / "artifacts") if request.param == "cached" else None


@pytest.fixture
def compiled_here(engine: str, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    vm = get_wasm_engine(engine)
    here: list[bytes] = []

    def spy(wasm: bytes) -> Module:
        here.append(wasm)
        return type(vm).compile(vm, wasm)

    monkeypatch.setattr(vm, "compile", spy)
    return here


def test_this_process_compiles_nothing(
    compiling: str, pool: CompilerPool, cache: ArtifactCache | None, compiled_here: list[bytes]
) -> None:
    module = ModuleCompiler(cache, pool).compile(compiling, source(EMPTY), DAY)
    module.instantiate().close()
    assert compiled_here == []
    assert cache is None or len(cache.entries()) == 1


def test_what_is_cached_needs_no_process(
    compiling: str, pool: CompilerPool, tmp_path: Path
) -> None:
    cache = ArtifactCache(tmp_path / "artifacts")
    ModuleCompiler(cache, pool).compile(compiling, source(EMPTY), DAY)
    second = CompilerPool()
    ModuleCompiler(cache, second).compile(compiling, source(EMPTY), DAY)
    assert not second.pids


def test_the_error_names_module_limit_and_key(
    compiling: str, pool: CompilerPool, cache: ArtifactCache | None
) -> None:
    compiler = ModuleCompiler(cache, pool)
    limits = CompileLimits(60.0, 64 << 20)
    with pytest.raises(
        ModuleLimitError, match=r"^the module m\.wasm: .* 64 MiB .*\.compile_m"
    ) as e:
        compiler.compile(compiling, source(LARGE), limits)
    assert e.value.key == "compile_memory"
    assert cache is None or cache.entries() == []
    # It may have been the machine's fault: whoever tries again gets a try.
    compiler.compile(compiling, source(LARGE), DAY)


def test_workers_may_compile_the_same_at_once(compiling: str, tmp_path: Path) -> None:
    wasm = source(_functions(b"\0\x0b"))
    pools = [CompilerPool() for _ in range(3)]
    done = []

    def work(pool: CompilerPool) -> None:
        compiler = ModuleCompiler(ArtifactCache(tmp_path / "artifacts"), pool)
        done.append(compiler.compile(compiling, wasm, DAY))
        pool.close()

    threads = [threading.Thread(target=work, args=(pool,)) for pool in pools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 3
    assert len(ArtifactCache(tmp_path / "artifacts").entries()) == 1


def plugin(engine: str, path: Path, **vm_config: object) -> PluginConfig:
    return PluginConfig.model_validate(
        {"name": path.stem, "vm_config": {"engine": engine, "path": str(path), **vm_config}}
    )


def test_what_is_too_much_is_tried_once_for_a_start(
    compiling: str, pool: CompilerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    really = CompilerProcess.compile

    def spy(process: CompilerProcess, engine: str, wasm: bytes, *rest: object) -> bytes:
        tried.append(len(wasm))
        return really(process, engine, wasm, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(CompilerProcess, "compile", spy)
    configs = []
    for name, wasm in (("good", EMPTY), ("bad", LARGE)):
        (tmp_path / name).write_bytes(wasm)
        configs.append(plugin(compiling, tmp_path / name, compile_memory="64MiB"))
    compiler = ModuleCompiler(pool=pool)
    assert len(preload(configs, compiler)) == 1
    with pytest.raises(ModuleLimitError):
        compiler.compile(compiling, source(LARGE), configs[1].vm_config.compile_limits)
    assert sorted(tried) == [len(EMPTY), len(LARGE)]


def test_a_process_is_started_ahead_where_one_will_be_needed(
    compiling: str, pool: CompilerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYWASM_CACHE_DIR", str(tmp_path / "artifacts"))
    (tmp_path / "m.wasm").write_bytes(EMPTY)
    config = plugin(compiling, tmp_path / "m.wasm")
    anticipate([config], pool)
    ahead = pool.pids
    assert len(ahead) == 1
    cache = ArtifactCache(tmp_path / "artifacts")
    ModuleCompiler(cache, pool).compile(compiling, source(EMPTY), DAY)
    assert pool.pids == ahead
    second = CompilerPool()
    anticipate([config], second)
    assert not second.pids


def test_engines_that_only_this_process_has_compile_here(
    compiling: str, pool: CompilerPool, caplog: pytest.LogCaptureFixture
) -> None:
    class Registered:
        @staticmethod
        @hookimpl
        def register_engines(register: Callable[[str, Callable[[], VM]], None]) -> None:
            register("registered", lambda: type(get_wasm_engine(compiling))())

    register_plugin(Registered)
    try:
        vm = get_wasm_engine("registered")
        type(vm).name, before = "registered", type(vm).name
        try:
            ModuleCompiler(pool=pool).compile("registered", source(EMPTY), DAY)
        finally:
            type(vm).name = before
    finally:
        unregister_plugin(Registered)
    assert "is compiled in this process, without limits" in caplog.text


def test_guests_that_are_no_binaries_start_no_process(pool: CompilerPool) -> None:
    with pytest.raises(AnyWasmError):
        ModuleCompiler(pool=pool).compile("null", source(b"nobody"), DAY)
    assert not pool.pids
