"""The compliance suite judged itself: engines that claim what is not so must not pass it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anywasm.testing.interpreter import run_python

#: Engines that lie, on top of good ones.
ENGINES = """
from dataclasses import replace

from anywasm.core import Feature
from anywasm.engines.null import NullVM
from anywasm.engines.wasmtime import WasmtimeVM


class Boastful(NullVM):
    name = "boastful"
    capabilities = replace(
        NullVM.capabilities, serialize=True, interrupt=True, thread_bound=True
    )


class Modest(WasmtimeVM):
    name = "modest"

    def __init__(self):
        super().__init__()
        self.capabilities = replace(
            self.capabilities,
            backtrace=False,
            reentrant=False,
            features=self.capabilities.features - {Feature.SIMD},
        )


class Featured(WasmtimeVM):
    name = "featured"

    def __init__(self):
        super().__init__()
        self.capabilities = replace(self.capabilities, features=frozenset(Feature))


class Old(NullVM):
    name = "old"
    engine_api_version = 0


class Misnamed(NullVM):
    name = "something else"
"""
NAMES = ("Boastful", "Modest", "Featured", "Old", "Misnamed")

CLASSES = "\n\n".join(
    f"class Test{name}(EngineCompliance):\n    engine = {name.lower()!r}\n    leak_rounds = 1000"
    for name in (*NAMES, "Nowhere")
)
TESTS = f"""
from anywasm.testing.engines import EngineCompliance

pytest_plugins = ["anywasm.testing.engines.plugin"]

{CLASSES}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an installed distribution of those engines, and a test file."""
    info = tmp_path / "lying-1.0.dist-info"
    info.mkdir()
    entries = "".join(f"{name.lower()} = lying:{name}\n" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[anywasm.engines]\n{entries}")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lying\nVersion: 1.0\n")
    (tmp_path / "lying.py").write_text(ENGINES)
    (tmp_path / "test_lying.py").write_text(TESTS)
    return tmp_path


def run(folder: Path, *tests: str) -> tuple[dict[str, str], str]:
    """What became of each test, by its name below the class; and the output."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        env={"PYTHONPATH": ":".join([str(folder), *filter(None, sys.path)]), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    outcomes = {}
    for line in done.stdout.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("PASSED", "FAILED", "ERROR", "SKIPPED"):
            outcomes[rest.partition(" - ")[0].partition("::")[2]] = word
    return outcomes, done.stdout + done.stderr


def test_lies_are_found_out(folder: Path) -> None:
    outcomes, output = run(
        folder,
        *(f"test_lying.py::TestBoastful::{name}" for name in ("artifacts", "deadlines", "threads")),
        *(f"test_lying.py::TestModest::{name}" for name in ("features", "traps", "host_functions")),
        "test_lying.py::TestFeatured::features",
        "test_lying.py::TestMisnamed::identity",
    )
    feature = "features::test_claimed_means_it_works_and_not_claimed_means_refused"
    lies = {
        "TestBoastful::threads::test_foreign_thread_is_refused_where_bound",
        f"TestModest::{feature}[simd]",
        "TestModest::traps::test_no_backtrace_where_none_is_claimed",
        "TestModest::host_functions::test_nested_call_that_is_not_claimed_is_refused",
        f"TestFeatured::{feature}[threads]",
        "TestMisnamed::identity::test_attributes",
    }
    assert {outcomes.get(lie) for lie in lies} == {"FAILED"}, output[-4000:]
    for topic in ("artifacts", "deadlines"):
        told = {outcomes[name] for name in outcomes if name.startswith(f"TestBoastful::{topic}::")}
        assert told & {"FAILED", "ERROR"}, topic
    # What is true of them still passes, and failures show the values.
    assert outcomes[f"TestModest::{feature}[gc]"] == "PASSED"
    assert "AssertionError: assert 'something else' == 'misnamed'" in output


def test_what_cannot_be_had_says_why(folder: Path) -> None:
    outcomes, output = run(folder, "test_lying.py::TestOld", "test_lying.py::TestNowhere")
    assert outcomes == {"TestOld::available": "FAILED", "TestNowhere::available": "FAILED"}
    assert "lying was written for engine API version 0, this is version 1" in output
    assert "unknown WebAssembly engine 'nowhere'; known engines: wasmtime" in output


def test_a_forgotten_plugin_is_named(folder: Path) -> None:
    test = folder / "test_lying.py"
    test.write_text(test.read_text().replace("pytest_plugins", "forgotten"))
    outcomes, output = run(folder, "test_lying.py::TestOld")
    assert outcomes == {"TestOld::test_plugin_is_loaded": "FAILED"}
    assert 'pytest_plugins = ["anywasm.testing.engines.plugin"]' in output.replace("'", '"')


def test_missing_pytest_is_named() -> None:
    code = "import sys; sys.modules['pytest'] = None; import anywasm.testing.engines"
    done = run_python(code)
    assert "ImportError: the compliance suite runs in pytest" in done.stderr
    assert "pip install 'anywasm[testing]'" in done.stderr
