"""Modules are compiled once per process, and once per machine where the engine can keep them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from anywasm.core.artifact_cache import ArtifactCache
from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.compiling import CompileLimits
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.preload import preload
from anywasm.plugins.source import ModuleSource, read_source

WASM = bytes.fromhex("0061736d01000000")


@pytest.fixture
def config(engine: str, tmp_path: Path) -> Callable[[str, bytes], PluginConfig]:
    def make(name: str, wasm: bytes) -> PluginConfig:
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(wasm)
        return PluginConfig.model_validate(
            {"name": name, "vm_config": {"engine": engine, "path": str(path)}}
        )

    return make


@pytest.fixture
def source(config: Callable[[str, bytes], PluginConfig], engine: str) -> ModuleSource:
    if not get_wasm_engine(engine).capabilities.wasm:
        pytest.skip("its guests are no binaries: there is nothing to compile")
    return read_source(config("module", WASM).vm_config)


@pytest.fixture
def compiled(engine: str, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the engine was given to compile."""
    vm = get_wasm_engine(engine)
    given: list[bytes] = []

    def spy(wasm: bytes) -> Module:
        given.append(wasm)
        return type(vm).compile(vm, wasm)

    monkeypatch.setattr(vm, "compile", spy)
    return given


def test_all_who_want_it_meet(engine: str, source: ModuleSource, compiled: list[bytes]) -> None:
    compiler = ModuleCompiler()
    found: list[Module] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        found.append(compiler.compile(engine, source, CompileLimits()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert len(compiled) == 1


def test_the_next_process_does_not_compile(
    engine: str, source: ModuleSource, compiled: list[bytes], tmp_path: Path
) -> None:
    cache = ArtifactCache(tmp_path / "artifacts")
    first = ModuleCompiler(cache).compile(engine, source, CompileLimits())
    second = ModuleCompiler(cache).compile(engine, source, CompileLimits())
    assert first is not second
    assert first.exports == second.exports
    assert len(compiled) == (1 if first.vm.capabilities.serialize else 2)
    second.instantiate().close()


def test_what_is_refused_is_not_kept(engine: str, source: ModuleSource, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path / "artifacts")
    broken = ModuleSource(source.place, WASM + b"\x01", "0" * 64)
    with pytest.raises(PluginLoadError, match=source.place):
        ModuleCompiler(cache).compile(engine, broken, CompileLimits())
    assert cache.entries() == []


def test_several_are_compiled_before_they_start(
    engine: str,
    source: ModuleSource,
    config: Callable[[str, bytes], PluginConfig],
    compiled: list[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    other = WASM + bytes((0, 2, 1)) + b"x"  # a custom section
    configs = [config("a", WASM), config("b", WASM), config("c", other), config("d", b"\0")]
    missing = config("e", WASM)
    Path(str(missing.vm_config.path)).unlink()
    compiler = ModuleCompiler()
    modules = preload([*configs, missing], compiler)
    assert len(modules) == 2
    assert sorted(compiled) == sorted([WASM, other, b"\0"])
    assert "modules: 3 of 3 ready" in caplog.text
    for each in configs[:3]:
        assert compiler.compile(engine, read_source(each.vm_config), CompileLimits()) in modules
    assert len(compiled) == 3
