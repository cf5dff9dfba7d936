"""wasm3 does not look at the native stack; the engine must keep guests from overrunning it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from anywasm.core.errors import CompileError, TrapError, TrapKind
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.engines.wasm3 import Wasm3VM

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SCRIPT = """
import sys, threading
from anywasm.core import AnyWasmError, get_wasm_engine

vm = get_wasm_engine("wasm3")
wasm, where, limit = bytes.fromhex(sys.stdin.read()), sys.argv[1], int(sys.argv[2])
sys.setrecursionlimit(limit)

def work():
    try:
        module = vm.compile(wasm)
        again = lambda: instance.exports["run"]()
        instance = module.instantiate({"env": {"again": again}} if module.imports else None)
        arguments = [1] * len(module.exports[0].type.params)
        for _ in range(3):
            try:
                instance.exports["run"](*arguments)
            except (AnyWasmError, RecursionError) as error:
                print(type(error).__name__, getattr(error, "kind", ""))
        instance.close()
    except AnyWasmError as error:
        print(type(error).__name__, error)

if where == "main":
    work()
else:
    threading.stack_size(int(where))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


def _nested(opening: str, times: int) -> str:
    return f'(func $run (export "run") {opening * times} call $run {"end " * times})'


OVERFLOWS = {
    "direct": '(func $run (export "run") call $run)',
    "indirect": """(type $t (func)) (table 1 funcref) (elem (i32.const 0) $run)
      (func $run (export "run") i32.const 0 call_indirect (type $t))""",
    "loops": _nested("loop ", 30),
    "blocks": _nested("block ", 4000),
    "wide": f"""(func $run (export "run") (param {"i64 " * 900})
      {" ".join(f"local.get {i}" for i in range(900))} call $run)""",
    "with calls out": """(import "env" "again" (func $again)) (func $leaf call $leave)
      (func $leave) (func $run (export "run") call $leaf call $run)""",
    "compiled on demand": f"""(func $run (export "run") (param i32)
      local.get 0 if local.get 0 call $run else call $deep end)
      (func $deep {"block " * 60} call $deep {"end " * 60})""",
}


@pytest.fixture
def run(run_python: Run, assemble: Callable[[str], bytes]) -> Callable[..., list[str]]:
    def run(fields: str, where: str = "main", limit: int = 1000) -> list[str]:
        wasm = assemble(f"(module {fields})").hex()
        source = SCRIPT.replace("sys.stdin.read()", f"'{wasm}'")
        if len(source) > 100_000:
            # Longer than an argument of a process may be.
            pytest.fail("the module is too long for this test")
        done = run_python(source, where, str(limit))
        assert done.returncode == 0, done.stderr
        # wasm3 prints backtraces when its own binding drives it.
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize("where", ["main", "0"])
@pytest.mark.parametrize("name", OVERFLOWS)
def test_no_recursion_overruns_the_native_stack(
    run: Callable[..., list[str]], name: str, where: str
) -> None:
    assert run(OVERFLOWS[name], where) == ["TrapError call stack exhausted"] * 3


def test_recursion_through_the_host_ends_at_pythons_limit(run: Callable[..., list[str]]) -> None:
    mutual = '(import "env" "again" (func $again)) (func (export "run") call $again)'
    assert run(mutual) == ["RecursionError "] * 3


@pytest.mark.parametrize("where", ["main", "0"])
def test_recursion_through_the_host_ends_without_pythons_limit(
    run: Callable[..., list[str]], where: str
) -> None:
    mutual = '(import "env" "again" (func $again)) (func (export "run") call $again)'
    assert run(mutual, where, 1_000_000) == ["TrapError call stack exhausted"] * 3


@pytest.mark.parametrize("name", OVERFLOWS)
def test_a_thread_with_a_small_stack_is_refused(run: Callable[..., list[str]], name: str) -> None:
    lines = run(OVERFLOWS[name], str(256 * 1024))
    assert lines
    assert all(line.startswith("ConcurrencyError") for line in lines)


def test_a_thread_with_a_large_stack_may_call(run: Callable[..., list[str]]) -> None:
    assert run('(func (export "run"))', str(16 << 20)) == []


def test_loops_cost_native_stack_and_are_given_less_of_wasm3s(wasm3: Wasm3VM) -> None:
    stack = wasm3.stack
    assert stack.ratio(10, 8) > stack.ratio(0, 8) == stack.ratio(0, 0)
    assert stack.ratio(10, 800) < stack.ratio(0, 8)
    assert stack.size(stack.ratio(10, 8)) * stack.ratio(10, 8) <= stack.budget


@pytest.mark.parametrize("fields", [_nested("loop ", 500), _nested("block ", 20_000)])
def test_what_no_stack_would_do_for_is_refused(
    compiled: Callable[[str], Module], fields: str
) -> None:
    with pytest.raises(CompileError, match="deep"):
        compiled(fields)


def test_bytes_that_look_like_loops_are_none(start: Callable[..., Instance]) -> None:
    # 03 is the opcode of loop; here it is in constants, indices, offsets and branch tables.
    constants = "".join(
        f"i32.const {0x03030303} drop f64.const {value} drop local.get 3 drop "
        "block block i32.const 3 br_table 0 1 0 1 0 1 0 end end "
        "i32.const 3 i32.load offset=3 drop i32.const 3 i32.const 3 i32.const 3 memory.fill "
        for value in range(200)
    )
    instance = start(
        f"""(memory 1) (func (param i32 i32 i32 i32) {constants})
        (global $deepest (mut i32) (i32.const 0))
        (func (export "deepest") (result i32) global.get $deepest)
        (func $run (export "run") (param i32) local.get 0 if
          local.get 0 i32.const 1 i32.sub call $run else i32.const 1 global.set $deepest end)"""
    )
    # Had they been counted, too little stack would be left.
    instance.exports["run"](5000)
    assert instance.exports["deepest"]() == 1


def test_an_instance_is_usable_after_an_overflow(start: Callable[..., Instance]) -> None:
    instance = start(
        """(func $deep (export "deep") (param i32) (result i32)
          local.get 0 call $deep i32.const 1 i32.add)
        (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)"""
    )
    for _ in range(3):
        with pytest.raises(TrapError) as caught:
            instance.exports["deep"](1)
        assert caught.value.kind is TrapKind.STACK_OVERFLOW
        assert set(caught.value.backtrace) == {"deep"}
        assert instance.exports["add"](2, 3) == 5
