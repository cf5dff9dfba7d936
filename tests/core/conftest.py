from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from anywasm.core import registry
from anywasm.testing.interpreter import run_python


@pytest.fixture(scope="session", name="run_python")
def _run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in an interpreter of its own, so that nothing was imported before."""
    return partial(run_python, check=True)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs a distribution, with these entry points and modules, for this test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, entry_points: str, **modules: str) -> None:
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        for module, source in modules.items():
            (tmp_path / f"{module}.py").write_text(source)
            monkeypatch.delitem(sys.modules, module, raising=False)

    return install


@pytest.fixture(autouse=True)
def _own_vms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines made by a test are not those of the next one."""
    monkeypatch.setattr(registry, "_vms", dict(registry._vms))
