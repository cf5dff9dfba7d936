"""The engines of `examples/engines/`, beside a framework that knows nothing of them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anywasm.sdk import guest_path

EXAMPLES = Path(__file__).parents[2] / "examples" / "engines"
#: The engines, and the modules of the packages that they are built on.
BINDINGS = {"pwasm": "pwasm", "v8": "STPyV8"}


def run(site: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m ...` where the distribution is installed."""
    path = ":".join([str(site), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, "PYTHONPATH": path},
        cwd=site,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module", params=BINDINGS)
def name(request: pytest.FixtureRequest) -> str:
    """An engine whose binding is installed."""
    engine: str = request.param
    if importlib.util.find_spec(BINDINGS[engine]) is None:
        pytest.skip(f"{BINDINGS[engine]} is not installed: it has no wheel for this interpreter")
    return engine


@pytest.fixture(scope="module")
def site(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the engine's distribution, and nothing else."""
    folder = tmp_path_factory.mktemp(name)
    source = folder / "source"
    # A copy: setuptools builds in the folder of the sources.
    source.mkdir()
    distribution = EXAMPLES / f"anywasm-{name}"
    for path in distribution.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            (source / path.relative_to(distribution)).parent.mkdir(parents=True, exist_ok=True)
            (source / path.relative_to(distribution)).write_bytes(path.read_bytes())
    site = folder / "site"
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "-q", *options, "--target", str(site)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return site


@pytest.mark.timeout(400)
def test_it_complies(name: str, site: Path) -> None:
    tests = EXAMPLES / f"anywasm-{name}" / "tests"
    # As where wasmtime is not installed, which could assemble guests that are not in the store.
    (site / "no_assembler.py").write_text("import sys\nsys.modules['wasmtime'] = None\n")
    options = ["-q", "-p", "no:cacheprovider", "-p", "no_assembler", "--timeout=120"]
    done = run(site, "pytest", *options, "--rootdir", str(tests), "-c", os.devnull, str(tests))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_it_is_listed(name: str, site: Path) -> None:
    engines = json.loads(run(site, "anywasm", "engines", "--json").stdout)
    assert [engine["available"] for engine in engines if engine["name"] == name] == [True]


def test_it_serves_the_quickstart(name: str, site: Path, start: Any) -> None:
    server = start(
        {
            "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
            "plugins": [
                {"name": plugin, "vm_config": {"engine": name, "path": str(guest_path(plugin))}}
                for plugin in ("function_1", "function_2")
            ],
            "state_stores": {"state_demo": {"type": "memory", "data": {"book1": "100"}}},
        },
        PYTHONPATH=":".join([str(site), *filter(None, sys.path)]),
    )
    answer = server.ask("main", "/?name=book1", "id_1")
    assert answer == (200, b"There are 100 inventories for book1.")
    assert server.warnings() == []


def test_it_is_measured(name: str, site: Path) -> None:
    pytest.importorskip("pytest_benchmark")
    options = ["--quick", "--engine", name, "--only", "crossing", "--json", "-"]
    done = run(site, "anywasm", "bench", *options)
    assert done.returncode == 0, done.stderr[-4000:]
    measured = {result["subject"] for result in json.loads(done.stdout)["results"]}
    assert name in measured
