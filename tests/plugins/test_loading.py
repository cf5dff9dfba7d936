"""Reading modules, compiling them once, and the threads in which guests live."""

from __future__ import annotations

import gc
import hashlib
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from anywasm.core.errors import ClosedError
from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.compiling import CompileLimits
from anywasm.plugins.config import VmConfig
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.home import OwnThread
from anywasm.plugins.source import ModuleSource, read_source


def config(path: Path, **options: str) -> VmConfig:
    return VmConfig.model_validate({"path": str(path), **options})


def test_a_module_is_read_with_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "m.wasm"
    path.write_bytes(b"content")
    sha256 = hashlib.sha256(b"content").hexdigest()
    md5 = hashlib.md5(b"content").hexdigest()
    source = read_source(config(path, sha256=sha256.upper(), md5=md5))
    assert source == ModuleSource(str(path), b"content", sha256)


@pytest.mark.parametrize(("algorithm", "digits"), [("sha256", 64), ("md5", 32)])
def test_a_pin_is_checked_on_each_load(tmp_path: Path, algorithm: str, digits: int) -> None:
    path = tmp_path / "m.wasm"
    path.write_bytes(b"content")
    pinned = config(path, **{algorithm: hashlib.new(algorithm, b"content").hexdigest()})
    read_source(pinned)
    path.write_bytes(b"changed")
    with pytest.raises(PluginLoadError, match=rf"has {algorithm} [0-9a-f]{{{digits}}}, but .* is"):
        read_source(pinned)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.wasm"
    empty.touch()
    for path, message in (
        (tmp_path / "none.wasm", "none.wasm: No such file"),
        (tmp_path, "Is a directory"),
        (empty, "empty.wasm is empty"),
    ):
        with pytest.raises(PluginLoadError, match=message):
            read_source(config(path))


@pytest.mark.parametrize("name", ["m.wasm", "/dev/zero"])
def test_what_is_too_long_is_not_read_to_its_end(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "m.wasm":
        path.write_bytes(b"content")
        settings = {"path": str(path), "max_module_bytes": 7}
        assert read_source(VmConfig.model_validate(settings)).wasm == b"content"
    settings = {"path": str(path), "max_module_bytes": 6}
    with pytest.raises(PluginLoadError, match=r"longer than 6 bytes; raise vm_config.max_module_"):
        read_source(VmConfig.model_validate(settings))


def source(wasm: bytes) -> ModuleSource:
    return ModuleSource("m.wasm", wasm, hashlib.sha256(wasm).hexdigest())


def test_a_module_is_compiled_once_also_by_many_threads(
    make_guest: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    vm = get_wasm_engine("wasmtime")
    compiled: list[str] = []
    really = vm.compile

    def counting(wasm: bytes) -> Any:
        compiled.append(threading.current_thread().name)
        return really(wasm)

    monkeypatch.setattr(vm, "compile", counting)
    compiler = ModuleCompiler()
    same, other = source(make_guest("same")), source(make_guest("other"))
    with ThreadPoolExecutor(8) as pool:
        modules = list(
            pool.map(lambda m: compiler.compile("wasmtime", m, CompileLimits()), [same, other] * 16)
        )
    assert len(compiled) == 2
    assert len(set(map(id, modules))) == 2
    assert compiler.compile("wasmtime", same, CompileLimits()) is modules[0]


def test_a_module_that_nobody_uses_is_forgotten(make_guest: Callable[..., bytes]) -> None:
    compiler = ModuleCompiler()
    wanted = source(make_guest("forgotten"))
    module = weakref.ref(compiler.compile("wasmtime", wanted, CompileLimits()))
    gc.collect()
    assert module() is None
    assert not compiler._modules
    assert not compiler._locks


def test_a_failure_is_not_kept(make_guest: Callable[..., bytes]) -> None:
    compiler = ModuleCompiler()
    for _ in range(2):
        with pytest.raises(PluginLoadError, match=r"the module m\.wasm: "):
            compiler.compile("wasmtime", source(b"\0asm\1\0\0\0junk"), CompileLimits())
    with pytest.raises(PluginLoadError, match="unknown WebAssembly engine 'none'"):
        compiler.compile("none", source(b"x"), CompileLimits())
    assert not compiler._locks


def test_jobs_run_in_one_thread_and_fail_as_themselves() -> None:
    home = OwnThread("home")
    threads = {home.run(threading.get_ident) for _ in range(3)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert home.run(lambda: home.run(threading.get_ident)) in threads
    with pytest.raises(ZeroDivisionError):
        home.run(lambda: 1 // 0)
    home.close()
    home.close()


def test_an_ended_thread_refuses_jobs() -> None:
    home = OwnThread("home")
    home.close()
    with pytest.raises(ClosedError, match="thread has ended"):
        home.run(lambda: 1)


def test_a_thread_keeps_nothing_of_its_last_job() -> None:
    class Result:
        pass

    home = OwnThread("home")
    result = weakref.ref(home.run(Result))
    home.run(lambda: None)
    gc.collect()
    assert result() is None
    home.close()
