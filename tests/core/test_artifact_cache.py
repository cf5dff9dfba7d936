from __future__ import annotations

import hashlib
import logging
import os
import threading
from pathlib import Path

import pytest

from anywasm.core.artifact import Artifact, write_artifact
from anywasm.core.artifact_cache import CACHE_DIR, ArtifactCache, default_cache_folder
from anywasm.core.registry import engine_statuses
from anywasm.core.vm import VM

#: (module (func (export "answer") (result i32) i32.const 42))
WASM = bytes.fromhex(
    "0061736d010000000105016000017f03020100070a0106616e7377657200000a06010400412a0b"
)
SHA256 = hashlib.sha256(WASM).hexdigest()

ENGINES = [status.vm for status in engine_statuses() if status.vm is not None]
SERIALIZING = [vm for vm in ENGINES if vm.capabilities.serialize]


@pytest.fixture(params=SERIALIZING, ids=lambda vm: vm.name)
def vm(request: pytest.FixtureRequest) -> VM:
    made: VM = request.param
    return made


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "artifacts")


def answer(cache: ArtifactCache, vm: VM) -> int | None:
    module = cache.load(vm, SHA256)
    if module is None:
        return None
    with module, module.instantiate() as instance:
        value: int = instance.exports["answer"]()
        return value


def keep(cache: ArtifactCache, vm: VM) -> Path:
    with vm.compile(WASM) as module:
        cache.store(vm, SHA256, module)
    (entry,) = cache.entries()
    return entry.path


def test_what_was_kept_is_loaded(cache: ArtifactCache, vm: VM) -> None:
    assert answer(cache, vm) is None
    path = keep(cache, vm)
    assert answer(cache, vm) == 42
    (entry,) = cache.entries()
    assert (entry.engine, entry.version) == (vm.name, vm.artifact_version)
    assert (entry.wasm_sha256, entry.size, entry.usable) == (SHA256, path.stat().st_size, True)
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_module_outlives_its_entry(cache: ArtifactCache, vm: VM) -> None:
    keep(cache, vm)
    module = cache.load(vm, SHA256)
    assert module is not None
    assert len(cache.prune(max_bytes=0)) == 1
    with module, module.instantiate() as instance:
        assert instance.exports["answer"]() == 42
    assert answer(cache, vm) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "lengthen", "empty", "other"])
def test_a_damaged_entry_is_made_anew(
    cache: ArtifactCache, vm: VM, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = keep(cache, vm)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    whole = path.read_bytes()
    other = write_artifact(vm.name, "another version", Artifact(b"\0asm\1\0\0\0", b"code"))
    damaged = {
        "flip": bytes(data),
        "cut": whole[:-20],
        "lengthen": whole + b"\0",
        "empty": b"",
        "other": other,
    }
    path.write_bytes(damaged[damage])
    assert answer(cache, vm) is None
    assert "is not used, and made anew" in caplog.text
    assert str(path) in caplog.text
    keep(cache, vm)
    assert answer(cache, vm) == 42


def test_a_folder_that_others_can_write_to_is_not_trusted(
    cache: ArtifactCache, vm: VM, caplog: pytest.LogCaptureFixture
) -> None:
    keep(cache, vm)
    cache.folder.chmod(0o777)
    assert answer(cache, vm) is None
    assert answer(cache, vm) is None
    with vm.compile(WASM) as module:
        cache.store(vm, "0" * 64, module)
    assert [entry.wasm_sha256 for entry in cache.entries()] == [SHA256]
    assert caplog.text.count("can be written to by others") == 1
    cache.folder.chmod(0o700)
    assert answer(cache, vm) == 42


def test_an_entry_that_is_not_ours_is_not_trusted(cache: ArtifactCache, vm: VM) -> None:
    path = keep(cache, vm)
    path.chmod(0o666)
    assert answer(cache, vm) is None
    path.chmod(0o600)
    moved = path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(moved)
    assert answer(cache, vm) is None


def test_a_folder_that_cannot_be_made_loses_nothing(
    tmp_path: Path, vm: VM, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = ArtifactCache(tmp_path / "file" / "artifacts")
    with vm.compile(WASM) as module:
        cache.store(vm, SHA256, module)
    assert answer(cache, vm) is None
    assert "cannot be kept" in caplog.text


def test_engines_that_cannot_serialize_are_left_alone(
    cache: ArtifactCache, caplog: pytest.LogCaptureFixture
) -> None:
    vms = [vm for vm in ENGINES if vm.capabilities.wasm and not vm.capabilities.serialize]
    caplog.set_level(logging.DEBUG)
    for vm in vms:
        with vm.compile(WASM) as module:
            cache.store(vm, SHA256, module)
        assert cache.load(vm, SHA256) is None
    assert cache.entries() == []
    assert caplog.text == ""


def test_the_least_recently_used_go_first(tmp_path: Path, vm: VM) -> None:
    with vm.compile(WASM) as module:
        size = len(module.serialize())
        cache = ArtifactCache(tmp_path / "artifacts", max_bytes=2 * size)
        names = [digit * 64 for digit in "abc"]
        for age, name in zip((300, 200), names):
            cache.store(vm, name, module)
            (path,) = cache.folder.glob(f"{name}*")
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
        assert cache.load(vm, names[0]) is not None  # used just now
        cache.store(vm, names[2], module)
    assert {entry.wasm_sha256 for entry in cache.entries()} == {names[0], names[2]}
    assert cache.prune(max_age=60) == []
    assert len(cache.prune(max_bytes=size)) == 1


def test_what_was_half_written_goes_in_time(cache: ArtifactCache, vm: VM) -> None:
    keep(cache, vm)
    fresh, old = cache.folder / "tmpfresh", cache.folder / "tmpold"
    for path in (fresh, old):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.prune()
    assert fresh.exists()
    assert not old.exists()
    assert answer(cache, vm) == 42


def test_many_writers_and_readers(cache: ArtifactCache, vm: VM) -> None:
    with vm.compile(WASM) as module:
        failures: list[object] = []

        def write() -> None:
            for _ in range(10):
                cache.store(vm, SHA256, module)

        def read() -> None:
            for _ in range(30):
                found = answer(cache, vm)
                if found not in (None, 42):
                    failures.append(found)

        if vm.capabilities.thread_bound:
            write()
            read()
        else:
            threads = [threading.Thread(target=work) for work in (write, write, read, read)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert failures == []
    assert answer(cache, vm) == 42


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_DIR, str(tmp_path))
    assert default_cache_folder() == tmp_path
    monkeypatch.setenv(CACHE_DIR, "")
    assert default_cache_folder() is None
    monkeypatch.delenv(CACHE_DIR)
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert default_cache_folder() == Path("/cache/anywasm/artifacts")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_cache_folder() == Path("/home/somebody/.cache/anywasm/artifacts")
