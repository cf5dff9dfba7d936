from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from anywasm.core import registry


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in an interpreter of its own, so that nothing was imported before."""

    def run(source: str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", source, *args],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    return run


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
