from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

HERE = Path(__file__).parent


def _judge(run_with: Run, **variables: str) -> None:
    suite = str(HERE / "compliance.py")
    done = run_with("-m", "pytest", "-q", "-p", "no:cacheprovider", suite, timeout=500, **variables)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > 300


@pytest.mark.timeout(540)
def test_wasmtime_through_the_standard_c_api(run_with: Run, libwasmtime: str) -> None:
    _judge(run_with, ANYWASM_WASM_C_API=libwasmtime)


@pytest.mark.timeout(540)
def test_a_library_of_which_nothing_is_assumed(run_with: Run, like_wasmer: str) -> None:
    """Instances bound to their thread, memories that may move, under the name of `wasmer`."""
    _judge(run_with, ANYWASM_LIBWASMER=like_wasmer)
