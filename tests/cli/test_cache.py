from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from anywasm.core.artifact_cache import CACHE_DIR
from anywasm.core.registry import engine_statuses
from anywasm.sdk import guest_bytes

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ENGINES = [s.name for s in engine_statuses() if s.vm is not None and s.vm.capabilities.serialize]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_DIR, str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


@pytest.fixture
def filled(folder: Path) -> list[Path]:
    """One artifact of each engine, and a file that is none."""
    from anywasm.core.artifact_cache import ArtifactCache
    from anywasm.core.registry import get_wasm_engine

    cache = ArtifactCache(folder)
    for name in ENGINES:
        vm = get_wasm_engine(name)
        with vm.compile(b"\0asm\1\0\0\0") as module:
            cache.store(vm, "a" * 64, module)
    (folder / f"{'b' * 64}.1.artifact").write_bytes(b"no artifact")
    return sorted(folder.iterdir())


def test_a_server_keeps_what_it_compiled(
    folder: Path, tmp_path: Path, serving: Callable[..., object], run: Run
) -> None:
    module = tmp_path / "filter.wasm"
    module.write_bytes(guest_bytes("add_header"))
    for _ in range(2):
        with serving("run", str(module), "--listen", "127.0.0.1:0") as server:  # type: ignore[attr-defined]
            assert server.ask(server.port("run"))[0] == 200
    (entry,) = json.loads(run("cache", "ls", "--json").stdout)
    assert entry["engine"] == "wasmtime"
    assert entry["usable"] is True


def test_they_are_listed(filled: list[Path], run: Run) -> None:
    result = run("cache", "ls")
    lines = result.stdout.splitlines()
    assert len(lines) == len(filled)
    for engine in ENGINES:
        assert sum(f" {engine} " in line and line.endswith("a" * 64) for line in lines) == 1
    assert sum("damaged" in line and line.endswith("b" * 64) for line in lines) == 1
    assert f"{len(filled)} kept" in result.stderr
    data = json.loads(run("cache", "ls", "--json").stdout)
    assert sorted(entry["path"] for entry in data) == [str(path) for path in filled]
    assert sum(entry["bytes"] for entry in data) == sum(path.stat().st_size for path in filled)


def test_what_cannot_be_used_is_pruned(filled: list[Path], folder: Path, run: Run) -> None:
    result = run("cache", "prune")
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 1)
    assert len(list(folder.iterdir())) == len(filled) - 1
    run("cache", "prune", "--older-than", "1h", "--max-size", "1G")
    assert len(list(folder.iterdir())) == len(filled) - 1
    assert run("cache", "prune", "--all").returncode == 0
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("options", [("--older-than", "soon"), ("--max-size", "7X")])
def test_amounts_need_their_unit(folder: Path, run: Run, options: tuple[str, str]) -> None:
    result = run("cache", "prune", *options)
    assert result.returncode == 2
    assert f"{options[0]} {options[1]}: must be a number with its unit" in result.stderr


def test_an_empty_cache(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(run("cache", "ls", "--json").stdout) == []
    monkeypatch.setenv(CACHE_DIR, "")
    result = run("cache", "ls")
    assert result.returncode == 2
    assert CACHE_DIR in result.stderr
