"""What is said of libraries that cannot be used, and what of those that can."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def _engine(run_with: Run, name: str, **variables: str) -> Any:
    """What `anywasm engines --json` says of that engine."""
    done = run_with("-m", "anywasm", "engines", "--json", **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return next(item for item in json.loads(done.stdout) if item["name"] == name)


def test_no_library_is_named(run_with: Run) -> None:
    found = _engine(run_with, "wasm_c_api")
    assert found["reason"] == "the environment variable ANYWASM_WASM_C_API is not set"
    assert found["remedy"].startswith("set ANYWASM_WASM_C_API to the path of a shared library")


@pytest.mark.parametrize(
    ("engine", "variable"),
    [("wasm_c_api", "ANYWASM_WASM_C_API"), ("wasmer", "ANYWASM_LIBWASMER")],
)
@pytest.mark.parametrize("content", [None, b"", b"no library\n"])
def test_what_is_no_library(
    run_with: Run, tmp_path: Path, engine: str, variable: str, content: bytes | None
) -> None:
    path = tmp_path / "lib.so"
    if content is not None:
        path.write_bytes(content)
    found = _engine(run_with, engine, **{variable: str(path)})
    assert found["reason"].startswith(f"{variable}={path}: it cannot be loaded: ")
    assert variable in found["remedy"]
    assert "unset it" in found["remedy"]


@pytest.mark.parametrize(
    ("engine", "variable"),
    [("wasm_c_api", "ANYWASM_WASM_C_API"), ("wasmer", "ANYWASM_LIBWASMER")],
)
def test_a_library_of_something_else(
    run_with: Run, build: Callable[..., str], engine: str, variable: str
) -> None:
    path = build("other", "void *wasm_engine_new(void) { return 0; }")
    found = _engine(run_with, engine, **{variable: path})
    lacks = re.search(
        r"does not implement the wasm C API: it lacks (\d+) of (\d+) ", found["reason"]
    )
    assert lacks
    assert int(lacks[1]) == int(lacks[2]) - 1
    assert "unset it" in found["remedy"]


def test_a_library_of_another_engine_in_the_place_of_wasmer(
    run_with: Run, libwasmtime: str
) -> None:
    found = _engine(run_with, "wasmer", ANYWASM_LIBWASMER=libwasmtime)
    assert found["reason"].endswith("implements the wasm C API but is not Wasmer's (wasmtime)")
    assert "ANYWASM_WASM_C_API" in found["remedy"]


def test_a_library_that_makes_no_engine(
    run_with: Run, build: Callable[..., str], libwasmtime: str
) -> None:
    path = build("broken", "void *wasm_engine_new(void) { return 0; }", libwasmtime)
    found = _engine(run_with, "wasm_c_api", ANYWASM_WASM_C_API=path)
    assert "made no engine" in found["reason"]
    assert "unset it" in found["remedy"]


def test_wasmtime_is_told_by_its_digest(run_with: Run, libwasmtime: str) -> None:
    found = _engine(run_with, "wasm_c_api", ANYWASM_WASM_C_API=libwasmtime)
    assert found["version"].startswith("wasmtime-")
    assert found["capabilities"]["thread_bound"] is False


SCRIPT = """
from anywasm import CompileError, TrapError, get_wasm_engine
vm = get_wasm_engine("wasmer")
wasm = bytes.fromhex("0061736d0100000001040160000003020100070501016600000a05010300000b")
try:
    vm.compile(wasm[:-2] + b"\\x6a\\x0b")
except CompileError as error:
    print(error)
with vm.compile(wasm) as module, module.instantiate() as instance:
    try:
        instance.exports["f"]()
    except TrapError as trap:
        print(trap.kind)
print(vm.load(vm.compile(wasm).serialize()))
"""


def test_the_engine_wasmer_runs_in_the_library_that_is_named(
    run_with: Run, like_wasmer: str
) -> None:
    path = like_wasmer
    found = _engine(run_with, "wasmer", ANYWASM_LIBWASMER=path)
    assert found["version"] == "wasmer-7.0.1"
    assert found["capabilities"]["interrupt"] is True
    assert found["capabilities"]["thread_bound"] is True
    done = run_with("-c", SCRIPT, ANYWASM_LIBWASMER=path)
    assert done.stdout.splitlines() == [
        "wasmer-7.0.1 refuses the module: not to my mind",
        "unreachable",
        "<wasmer module, 0 imports, 1 exports>",
    ], done.stderr


#: The wheel that pip installs where there is none for the interpreter.
STUB = 'raise ImportError("Wasmer is not available on this system")\n'


def test_the_stub_that_pip_installs_for_later_pythons(run_with: Run, tmp_path: Path) -> None:
    for name in ("wasmer", "wasmer_compiler_cranelift"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(STUB)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    found = _engine(run_with, "wasmer", PYTHONPATH=path)
    running = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    assert found["reason"] == (
        "wasmer-python cannot be loaded (Wasmer is not available on this system); its last wheels "
        f"are for CPython 3.10, this is {running}"
    )
    if running == "cpython 3.10":
        assert found["remedy"] == "pip install 'anywasm[wasmer]'"
    else:
        assert found["remedy"].startswith("install Wasmer and set ANYWASM_LIBWASMER to ")
