from __future__ import annotations

import gc
import subprocess
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.core.errors import ArgumentError, InstantiationError, OutOfMemoryError
from anywasm.core.limits import ResourceLimits
from anywasm.core.registry import get_wasm_engine

ADD = """(module
  (import "env" "host" (func $host (param i32) (result i32)))
  (func (export "add") (param i32 i32) (result i32)
    local.get 0 call $host local.get 1 i32.add))
"""

# Another thread closes the instance just before the call takes it.
LATE_CLOSE = """
import os, sys, threading
os.environ["ANYWASM_FASTCALL"] = "0"  # in C nothing can come between
from anywasm.core import ClosedError, get_wasm_engine

module = get_wasm_engine("wasmtime").compile(bytes.fromhex(sys.argv[1]))
instance = module.instantiate({"env": {"host": lambda value: value}})
acquire = instance._gate.acquire

def acquire_late(blocking):
    thread = threading.Thread(target=instance.close)
    thread.start()
    thread.join()
    return acquire(blocking)

instance._gate.acquire = acquire_late
for call in (instance.exports["add"], lambda a, b: instance.call_bits("add", a, b)):
    try:
        print(call(1, 2))
    except ClosedError:
        print("closed")
"""

NO_ADDRESSES = """
import resource, sys
from anywasm.core import OutOfMemoryError, get_wasm_engine

module = get_wasm_engine("wasmtime").compile(bytes.fromhex(sys.argv[1]))
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
try:
    module.instantiate()
except OutOfMemoryError as error:
    print("refused", error)
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_call_that_loses_the_race_with_close(
    run_python: Run, assemble: Callable[[str], bytes]
) -> None:
    done = run_python(LATE_CLOSE, assemble(ADD).hex())
    assert (done.returncode, done.stdout.split()) == (0, ["closed", "closed"]), done.stderr


def test_a_bound_export_keeps_its_instance(assemble: Callable[[str], bytes]) -> None:
    module = get_wasm_engine("wasmtime").compile(assemble(ADD))
    add = module.instantiate({"env": {"host": lambda value: value + 1}}).exports["add"]
    gc.collect()
    assert add(1, 2) == 4


def test_an_instance_that_nobody_closed_is_collected(assemble: Callable[[str], bytes]) -> None:
    def host(value: int) -> int:
        return value

    module = get_wasm_engine("wasmtime").compile(assemble(ADD))
    instance = module.instantiate({"env": {"host": host}})
    assert instance.exports["add"](1, 2) == 3
    gone = weakref.ref(host)
    del instance, host
    gc.collect()
    assert gone() is None


def test_no_address_space_for_a_memory(run_python: Run, assemble: Callable[[str], bytes]) -> None:
    done = run_python(NO_ADDRESSES, assemble("(module (memory 1))").hex())
    assert done.stdout.startswith("refused"), done.stderr


def test_a_full_heap_of_the_guests_collector(assemble: Callable[[str], bytes]) -> None:
    module = get_wasm_engine("wasmtime").compile(
        assemble(
            """(module
              (type $list (array (mut i64)))
              (func (export "make") (param i32)
                local.get 0 array.new_default $list drop))"""
        )
    )
    with module.instantiate(limits=ResourceLimits(memory_bytes=1 << 20)) as instance:
        instance.exports["make"](10)
        with pytest.raises(OutOfMemoryError):
            instance.exports["make"](1_000_000)
        instance.exports["make"](10)


@pytest.mark.parametrize("bound", [-1, 1.5, "1"])
def test_limits_that_are_none(bound: Any) -> None:
    with pytest.raises(ArgumentError, match="memory_bytes"):
        ResourceLimits(memory_bytes=bound)


def test_limits_wider_than_c_can_say(assemble: Callable[[str], bytes]) -> None:
    module = get_wasm_engine("wasmtime").compile(assemble('(module (memory (export "m") 2))'))
    module.instantiate(limits=ResourceLimits(memory_bytes=1 << 80)).close()
    with pytest.raises(InstantiationError, match="exceeds memory limits"):
        module.instantiate(limits=ResourceLimits(memory_bytes=65536))
