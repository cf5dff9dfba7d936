from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from anywasm.core.vm import VM

WAT = """(module
  (import "env" "down" (func $down (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "seven") (result i32) i32.const 7)
  (func $deep (export "deep") (param i32) (result i32) (local i64 f64)
    local.get 0 i32.const 1 i32.add call $deep i32.const 1 i32.add)
  (func (export "mutual") (param i32) (result i32)
    local.get 0 i32.const 1 i32.add call $down i32.const 1 i32.add))
"""

SCRIPT = """
import sys, threading
from anywasm.core import TrapError, TrapKind, get_wasm_engine
from anywasm.engines.null.library import NullGuest, export, register_guest

class Deep(NullGuest):
    imports = {"env": {"down": "i32 -> i32"}}
    @export("-> i32")
    def seven(self):
        return 7
    @export("i32 -> i32")
    def deep(self, value):
        return self.deep(value + 1) + 1
    @export("i32 -> i32")
    def mutual(self, value):
        return self.host["env"]["down"](value + 1) + 1

register_guest("deep", Deep)
engine, name, stack, wasm = sys.argv[1:]
vm = get_wasm_engine(engine)

def work():
    module = vm.compile(bytes.fromhex(wasm) if vm.capabilities.wasm else b"deep")
    down = lambda value: instance.exports["mutual"](value)
    instance = module.instantiate({"env": {"down": down}})
    for _ in range(3):
        try:
            instance.exports[name](0)
        except TrapError as error:
            assert error.kind is TrapKind.STACK_OVERFLOW, error
            print("ended")
        except RecursionError:
            print("ended")
        assert instance.exports["seven"]() == 7
    instance.close()

if stack == "main":
    work()
else:
    if int(stack):
        threading.stack_size(int(stack))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize("stack", ["main", "0", str(1 << 20), str(16 << 20)])
@pytest.mark.parametrize("name", ["deep", "mutual"])
def test_endless_recursion_ends_in_an_error(
    vm: VM,
    assemble: Callable[[str], bytes],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
    name: str,
    stack: str,
) -> None:
    done = run_python(SCRIPT, vm.name, name, stack, assemble(WAT).hex())
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout.split() == ["ended"] * 3, done.stderr[-2000:]


@pytest.mark.capable(wasm=True)
def test_small_stack(
    vm: VM,
    assemble: Callable[[str], bytes],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    # Too small for Python's own recursion limit, so that only the guest may recurse.
    done = run_python(SCRIPT, vm.name, "deep", str(256 << 10), assemble(WAT).hex())
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout.split() == ["ended"] * 3, done.stderr[-2000:]
