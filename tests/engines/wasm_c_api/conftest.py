"""Libraries are named by environment variables, so each is tried in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from wasmtime import _ffi

Run = Callable[..., subprocess.CompletedProcess[str]]

#: What a Wasmer's library has beyond `wasm.h`.
WASMER = """
const char *wasmer_version(void) { return "7.0.1"; }
int wasmer_last_error_length(void) { return 14; }
int wasmer_last_error_message(char *to, int size) {
  __builtin_strncpy(to, "not to my mind", size);
  return 14;
}
"""


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


@pytest.fixture(scope="session")
def compiler() -> str:
    found = shutil.which("cc") or shutil.which("gcc")
    if found is None:
        pytest.skip("there is no C compiler on this machine")
    return found


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory, compiler: str) -> Callable[..., str]:
    """Builds a shared library of a C source, over other libraries."""
    folder = tmp_path_factory.mktemp("libraries")

    def make(name: str, source: str, *libraries: str) -> str:
        (folder / f"{name}.c").write_text(source)
        path = str(folder / f"{name}.so")
        command = [compiler, "-shared", "-fPIC", "-Wl,--no-as-needed", f"{name}.c", *libraries]
        subprocess.run([*command, "-o", path], check=True, timeout=60, cwd=folder)
        return path

    return make


@pytest.fixture(scope="session")
def like_wasmer(build: Callable[..., str], libwasmtime: str) -> str:
    """Stands for Wasmer's own library, which could not be had.

    It answers as that does where it goes beyond `wasm.h`; the rest is wasmtime's.
    """
    return build("wasmer", WASMER, libwasmtime)
