from __future__ import annotations

import subprocess
from collections.abc import Callable

SCRIPT = """
import importlib.metadata as metadata
import sys

def version(name):
    if sys.argv[1] == "none":
        raise metadata.PackageNotFoundError(name)
    return sys.argv[1]

metadata.version = version
from anywasm.core import EngineUnavailableError, get_wasm_engine
try:
    get_wasm_engine("wasmtime")
except EngineUnavailableError as error:
    print(error.reason, "|", error.remedy, "|", "wasmtime" in sys.modules)
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_an_unverified_release_is_refused_before_it_is_imported(run_python: Run) -> None:
    done = run_python(SCRIPT, "51.0.0")
    assert "51.0.0" in done.stdout
    assert "50.x" in done.stdout
    assert "anywasm[wasmtime]" in done.stdout
    assert done.stdout.strip().endswith("False")


def test_a_missing_binding_is_named(run_python: Run) -> None:
    assert "'wasmtime' is not installed" in run_python(SCRIPT, "none").stdout
