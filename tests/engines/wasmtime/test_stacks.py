from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

# Every instance recurses, then enters the next one from a host function: wasmtime counts the stack
# of each store anew, so that only the host can see the end of the thread's stack come.
CHAIN = """(module
  (import "env" "next" (func $next))
  (func $deep (export "deep") (param i32)
    local.get 0
    if
      local.get 0 i32.const 1 i32.sub call $deep
    else
      call $next
    end))
"""

SCRIPT = """
import ctypes, sys, threading
from anywasm.core import ConcurrencyError, TrapError, TrapKind, get_wasm_engine

stack, depth = int(sys.argv[1]), int(sys.argv[2])
module = get_wasm_engine("wasmtime").compile(bytes.fromhex(sys.argv[3]))

def enter():
    module.instantiate({"env": {"next": enter}}).exports["deep"](depth)

def work():
    try:
        enter()
    except (RecursionError, ctypes.ArgumentError) as error:
        # ctypes wraps what is raised while it looks at arguments, here those of the binding.
        print("recursion" if "RecursionError" in repr(error) else error)
    except TrapError as error:
        print("overflow" if error.kind is TrapKind.STACK_OVERFLOW else error)
    except ConcurrencyError as error:
        print(error)
    else:
        print("nothing")

threading.stack_size(stack)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("kib", [1536, 2048, 8192])
@pytest.mark.parametrize("depth", [0, 1000, 9000])
def test_a_chain_of_instances_ends_before_the_stack_does(
    run_python: Run, assemble: Callable[[str], bytes], kib: int, depth: int
) -> None:
    done = run_python(SCRIPT, str(kib << 10), str(depth), assemble(CHAIN).hex())
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in (["recursion"], ["overflow"])


def test_a_thread_with_too_small_a_stack_is_refused(
    run_python: Run, assemble: Callable[[str], bytes]
) -> None:
    done = run_python(SCRIPT, str(256 << 10), "0", assemble(CHAIN).hex())
    assert done.returncode == 0, done.stderr
    assert "stack of 256 KiB is too small" in done.stdout
    assert "threading.stack_size()" in done.stdout
