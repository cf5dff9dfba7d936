"""Runs `anywasm bench` as its users do: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Bench = Callable[..., "subprocess.CompletedProcess[str]"]

ENTRY_POINTS = "[anywasm.engines]\nacme = acme_wasm:AcmeVM\nbroken = acme_wasm:BrokenVM\n"
BROKEN = '''

class BrokenVM(AcmeVM):
    """Compiles nothing."""

    name = "broken"

    def _compile(self, wasm, interface):
        from anywasm import CompileError
        raise CompileError("this engine is broken")
'''


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Runs `anywasm bench --quick` with arguments, in an empty folder."""
    folder = tmp_path / "working folder"
    folder.mkdir()

    def start(*args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "anywasm", "bench", "--quick", *map(str, args)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **env},
        )

    return start


@pytest.fixture
def third_party(tmp_path: Path) -> str:
    """An import path on which a distribution with two engines is installed."""
    site = tmp_path / "site"
    info = site / "acme_wasm-7.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-wasm\nVersion: 7.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    engine = Path(__file__).parents[1] / "acceptance" / "acme" / "engine.py"
    (site / "acme_wasm.py").write_text(engine.read_text() + BROKEN)
    return os.pathsep.join([str(site), *filter(None, sys.path)])


@pytest.fixture
def read() -> Callable[[Path], Any]:
    """Reads a JSON file."""
    return lambda path: json.loads(path.read_text())
