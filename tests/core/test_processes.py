"""Engines in processes that fork, and under faulthandler: each case in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

_BEGIN = """
import faulthandler, os, sys
import wasmtime
from anywasm import EngineUnavailableError, ForkedError, TrapError, get_wasm_engine

WASM = bytes(wasmtime.wat2wasm('''(module
  (memory 1) (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "trap") unreachable)
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "divide") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0))))'''))
engine = get_wasm_engine(sys.argv[1])
module = engine.compile(WASM)
instance = module.instantiate()

def trapped(instance):
    for name, args in (("trap", ()), ("load", (0x10000000,)), ("divide", (0,))):
        try:
            instance.exports[name](*args)
        except TrapError:
            continue
        raise AssertionError(name)
    return instance.exports["add"](1, 2) == 3
"""

_FORK = """
def refused(action, *kinds):
    try:
        action()
    except kinds as error:
        assert "forked" in str(error) and "spawn" in str(error), error
    else:
        raise AssertionError(action)

add = instance.exports["add"]
add(1, 2)
child = os.fork()
if child == 0:
    refused(lambda: add(1, 2), ForkedError)
    refused(lambda: instance.exports["trap"](), ForkedError)
    refused(module.instantiate, ForkedError)
    refused(lambda: engine.compile(WASM), ForkedError)
    refused(lambda: get_wasm_engine(sys.argv[1]), EngineUnavailableError)
    instance.close(), module.close(), engine.close()
    refused(lambda: get_wasm_engine("wasm3"), EngineUnavailableError)
    assert get_wasm_engine("null").name == "null"
    print("child", flush=True)
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert add(1, 2) == 3 and trapped(instance)
print("parent")
"""

_ENABLE = """
faulthandler.enable()
assert trapped(instance)
assert trapped(module.instantiate())
print("good")
"""

_DISABLE = """
for change in (faulthandler.disable, lambda: (faulthandler.disable(), faulthandler.enable())):
    assert trapped(instance)
    change()
    # Found when the next module is compiled, and for all that there is.
    assert trapped(engine.compile(WASM).instantiate())
    assert trapped(instance)
faulthandler.disable()
assert trapped(module.instantiate())
print("good")
"""

_CRASH = """
assert trapped(instance)
import ctypes
print("good", flush=True)
ctypes.string_at(0)
"""


@pytest.fixture(params=["wasmtime", "wasmer", "wasm3"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "wasmer" and sys.version_info >= (3, 11):
        pytest.skip("wasmer's wheels stop at CPython 3.10")
    return str(request.param)


def _run(engine: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        # Later Pythons warn of what is tried here.
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _BEGIN + code, engine],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_forked_child_is_told_that_it_cannot(engine: str) -> None:
    result = _run(engine, _FORK)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == ["child", "parent"]


@pytest.mark.parametrize("code", [_ENABLE, _DISABLE], ids=["enabled", "disabled"])
def test_traps_stay_traps_whatever_faulthandler_does(engine: str, code: str) -> None:
    result = _run(engine, code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "good\n", "")


def test_a_crash_that_is_no_guests_is_shown(engine: str) -> None:
    result = _run(engine, _CRASH)
    assert (result.returncode, result.stdout) == (-11, "good\n")
    assert "Fatal Python error: Segmentation fault" in result.stderr
