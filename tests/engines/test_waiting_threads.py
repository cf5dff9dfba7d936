"""Other threads take the GIL while a guest runs, but for those that wait patiently."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from anywasm.engines.fastcall import ENABLED

WAT = """(module
  (import "env" "start" (func $start))
  (memory (export "memory") 1)
  (func $spin (export "spin") (result i32)
    (loop $again (br_if $again (i32.eqz (i32.load (i32.const 0)))))
    (i32.load (i32.const 0)))
  (func (export "start_and_spin") (result i32) call $start call $spin)
  (func (export "glance") (param $times i64) (result i32)
    (loop $again
      (if (i32.load (i32.const 0)) (then (return (i32.load (i32.const 0)))))
      (br_if $again
        (i64.ne (i64.const 0) (local.tee $times (i64.sub (local.get $times) (i64.const 1))))))
    (i32.const 0)))
"""

#: The guest waits in a loop for what other threads write into its memory, if they get to run.
SCRIPT = """
import sys, threading, time
from anywasm.core import get_wasm_engine
from anywasm.core.threads import patience, patiently

def wait():
    time.sleep(0.1)

def wait_patiently():
    with patience:
        time.sleep(0.1)

def take_patiently():
    for nothing in patiently(iter([None])):
        assert nothing is None
    for _ in patiently(iter(lambda: time.sleep(0.1), None)):
        assert False, "no item came"

threads = []

def begin(wait):
    def write():
        wait()
        instance.memory.write_u32(0, 7)

    threads.append(threading.Thread(target=write))
    threads[-1].start()

_, wasm, engine, export, times, *waits = sys.argv
module = get_wasm_engine(engine).compile(bytes.fromhex(wasm))
instance = module.instantiate({"env": {"start": lambda: begin(wait)}})
for name in waits:
    begin(globals()[name])
print(instance.exports[export](*map(int, times.split())))
for thread in threads:
    thread.join()
print(instance.exports["spin"]())
"""

Run = Callable[..., subprocess.CompletedProcess[str]]

#: Those whose binding keeps the GIL in any case are not among them.
engines = pytest.mark.parametrize("engine", ["wasmtime", "wasm3"])


def answers(run: Run, wasm: bytes, engine: str, *args: str) -> list[str]:
    done = run(SCRIPT, wasm.hex(), engine, *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@engines
@pytest.mark.parametrize("waits", [["wait"], ["wait", "wait"], ["wait_patiently", "wait"]])
def test_a_thread_that_waits_takes_the_gil(
    run_python: Run, assemble: Callable[[str], bytes], engine: str, waits: list[str]
) -> None:
    assert answers(run_python, assemble(WAT), engine, "spin", "", *waits) == ["7", "7"]


@engines
def test_a_thread_that_a_host_function_starts_takes_the_gil(
    run_python: Run, assemble: Callable[[str], bytes], engine: str
) -> None:
    assert answers(run_python, assemble(WAT), engine, "start_and_spin", "") == ["7", "7"]


@pytest.mark.parametrize(("engine", "times"), [("wasmtime", "1000000000"), ("wasm3", "100000000")])
@pytest.mark.parametrize("wait", ["wait_patiently", "take_patiently"])
def test_a_thread_that_waits_patiently_takes_it_after_the_call(
    run_python: Run, assemble: Callable[[str], bytes], engine: str, times: str, wait: str
) -> None:
    # Through ctypes the GIL is given up always.
    first = "0" if ENABLED else "7"
    assert answers(run_python, assemble(WAT), engine, "glance", times, wait) == [first, "7"]
