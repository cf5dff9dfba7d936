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
from anywasm.core import AnyWasmError, TrapError, TrapKind, get_wasm_engine
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
    for _ in range(2):
        try:
            instance.exports[name](0)
        except TrapError as error:
            assert error.kind is TrapKind.STACK_OVERFLOW, error
            print("ended")
        except RecursionError:
            print("ended")
        assert instance.exports["seven"]() == 7
    instance.close()

def work_or_refuse():
    try:
        work()
    except AnyWasmError as error:
        assert "stack" in str(error), error
        print("refused")

if stack == "main":
    work()
else:
    if int(stack):
        threading.stack_size(int(stack))
    small = 0 < int(stack) < 8 << 20
    thread = threading.Thread(target=work_or_refuse if small else work)
    thread.start()
    thread.join()
"""


def _ends(done: subprocess.CompletedProcess[str], *, may_refuse: bool = False) -> None:
    assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-2000:]}"
    words = done.stdout.split()
    assert words == ["ended"] * 2 or (may_refuse and words == ["refused"]), done.stderr[-2000:]


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        ("deep", "main"),
        ("deep", "0"),
        ("deep", str(16 << 20)),
        ("mutual", "main"),
        ("mutual", "0"),
    ],
)
def test_endless_recursion_ends_in_an_error(
    vm: VM,
    assemble: Callable[[str], bytes],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
    name: str,
    stack: str,
) -> None:
    _ends(run_python(SCRIPT, vm.name, name, stack, assemble(WAT).hex()))


@pytest.mark.parametrize("name", ["deep", "mutual"])
def test_on_a_stack_of_one_megabyte(
    vm: VM,
    assemble: Callable[[str], bytes],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
    name: str,
) -> None:
    done = run_python(SCRIPT, vm.name, name, str(1 << 20), assemble(WAT).hex())
    _ends(done, may_refuse=True)


@pytest.mark.capable(wasm=True)
def test_on_a_stack_too_small_for_the_recursion_limit_of_python(
    vm: VM,
    assemble: Callable[[str], bytes],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    # Python's own recursion would overrun it, so only the guest recurses.
    done = run_python(SCRIPT, vm.name, "deep", str(256 << 10), assemble(WAT).hex())
    _ends(done, may_refuse=True)
