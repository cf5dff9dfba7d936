"""Libraries are named by environment variables, so each is tried in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from wasmtime import _ffi

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def libwasmtime() -> str:
    """The library of the Python package wasmtime, which implements `wasm.h`."""
    return str(_ffi.dll._name)


@pytest.fixture(scope="session")
def run_with() -> Run:
    """Runs Python with these arguments, and these environment variables alone of the project."""

    def run(*args: str, timeout: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
        others = {key: value for key, value in os.environ.items() if "ANYWASM" not in key}
        return subprocess.run(
            [sys.executable, *args],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=others | variables,
        )

    return run
