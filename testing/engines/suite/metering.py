"""What only a metered guest could get wrong, asked of every engine that can interrupt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest

from anywasm.core.errors import DeadlineExceededError, LinkError, TrapError
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.core.vm import VM

pytestmark = pytest.mark.capable(wasm=True, interrupt=True)

ENDLESS = """(module
  (type $v (func (param i32)))
  (memory (export "memory") 16 32)
  (table 2 funcref) (elem (i32.const 0) $deep $deep)
  (func $deep (param i32)
    (if (local.get 0) (then
      (call_indirect (type $v) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0))
      (call_indirect (type $v) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))))
  (func $fib (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0)) (else
      (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
               (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "for ever") (loop br 0))
  (func (export "jump table") (loop (block (block (br_table 0 1 2 (i32.const 2))))))
  (func (export "inner") (loop $a (loop $b) (loop $c) (br $a)))
  (func (export "outer") (loop $a (loop $b (br $a))))
  (func (export "forward") (loop $a (block $x (br_if $x (i32.const 1)) (loop)) (br $a)))
  (func (export "with values") (result i32)
    (i32.const 1) (loop (param i32) (result i32) (i32.const 3) i32.mul (br 0)))
  (func $step (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "short loops") (loop (call $step (i32.const 3)) (br 0)))
  (func (export "recursion") (drop (call $fib (i32.const 80))))
  (func (export "table") (call $deep (i32.const 200)))
  (func (export "fill")
    (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576)) (br 0)))
  (func (export "copy")
    (loop (memory.copy (i32.const 8) (i32.const 0) (i32.const 1048568)) (br 0)))
  (func (export "grow") (loop (drop (memory.grow (i32.const 0))) (br 0)))
  (func (export "long") (loop LONG (br 0)))
  (func (export "seven") (result i32) i32.const 7))
""".replace("LONG", "(i32.store (i32.const 0) (i32.load (i32.const 4)))" * 2000)


@pytest.fixture
def endless(wat: Callable[[str], Module]) -> Iterator[Instance]:
    with wat(ENDLESS).instantiate() as instance:
        yield instance


NAMES = (
    *("for ever", "jump table", "inner", "outer", "forward", "with values", "short loops"),
    *("recursion", "table", "fill", "copy", "grow", "long"),
)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_hangs(endless: Instance, name: str) -> None:
    for _ in range(2):
        with pytest.raises(DeadlineExceededError), endless.deadline(0.02):
            endless.exports[name]()
        assert endless.exports["seven"]() == 7


def test_deadline_comes_with_the_first_use_of_the_block(endless: Instance) -> None:
    late = endless.deadline(0.05)
    assert endless.exports["seven"]() == 7
    with pytest.raises(DeadlineExceededError), late:
        endless.exports["for ever"]()


KERNELS = """(module
  (memory (export "memory") 4)
  (func $first (export "fib") (param i32) (result i64)
    (if (result i64) (i32.lt_u (local.get 0) (i32.const 2))
      (then (i64.extend_i32_u (local.get 0)))
      (else (i64.add (call $first (i32.sub (local.get 0) (i32.const 1)))
                     (call $first (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "sieve") (param $n i32) (result i64) (local $i i32) (local $j i32) (local $c i64)
    (memory.fill (i32.const 0) (i32.const 0) (local.get $n))
    (local.set $i (i32.const 2))
    (loop $outer
      (if (i32.eqz (i32.load8_u (local.get $i))) (then
        (local.set $c (i64.add (local.get $c) (i64.const 1)))
        (local.set $j (i32.shl (local.get $i) (i32.const 1)))
        (block $done (loop $inner
          (br_if $done (i32.ge_u (local.get $j) (local.get $n)))
          (i32.store8 (local.get $j) (i32.const 1))
          (local.set $j (i32.add (local.get $j) (local.get $i)))
          (br $inner)))))
      (br_if $outer
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $c))
  (func (export "mix") (param $n i32) (result i64) (local $h i64) (local $i i32)
    (local.set $h (i64.const 0xcbf29ce484222325))
    (loop $each
      (local.set $h (i64.mul (i64.const 0x100000001b3) (i64.xor (local.get $h)
        (i64.load8_u (i32.and (local.get $i) (i32.const 65535))))))
      (i64.store offset=65536 (i32.and (local.get $i) (i32.const 65528)) (local.get $h))
      (br_if $each
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $h)))
"""
#: The kernels' results, and the memory they leave, computed in Python.
RESULTS = {"fib": (18, 2584), "sieve": (20000, 2262), "mix": (60000, 6481627077360901837)}
MEMORY = "ed9a5a315ab6aeb4658b301369c650ed92c44a1c1b426f1bde080cf4fa2ebac5"


@pytest.mark.parametrize("bounded", [False, True])
def test_results_are_those_of_the_original(wat: Callable[[str], Module], bounded: bool) -> None:
    with wat(KERNELS).instantiate() as instance:
        for name, (argument, result) in RESULTS.items():
            if bounded:
                with instance.deadline(60):
                    assert instance.exports[name](argument) == result
            else:
                assert instance.exports[name](argument) == result
        assert instance.memory is not None
        assert hashlib.sha256(instance.memory.read(0, 4 * 65536)).hexdigest() == MEMORY


SHOWN = """(module $m
  (import "env" "host" (func (param i32)))
  (func $first (export "first") (result i32) unreachable)
  (func (export "second") (result i32) (call $first))
  (global (export "g") i32 (i32.const 5)))
"""


def test_module_shows_the_original(wat: Callable[[str], Module]) -> None:
    module = wat(SHOWN)
    assert [str(wanted) for wanted in module.imports] == ["env.host: func (i32) -> ()"]
    assert [(export.name, export.index) for export in module.exports] == [
        ("first", 1),
        ("second", 2),
        ("g", 0),
    ]
    with module.instantiate({"env": {"host": print}}) as instance:
        assert list(instance.exports) == ["first", "second", "g"]
        assert instance.exports["g"].value == 5
        for name, frames in (("first", 1), ("second", 2)):
            with pytest.raises(TrapError) as caught:
                instance.exports[name]()
            if module.vm.capabilities.backtrace:
                assert caught.value.backtrace == ("first", "func[2]")[:frames]
    with pytest.raises(LinkError, match="1 missing"):
        module.instantiate()


def test_own_names_may_be_taken(wat: Callable[[str], Module]) -> None:
    text = """(module (import "anywasm" "check" (func $check))
      (func (export "anywasm.fuel") (call $check))
      (func (export "spin") (loop br 0)))"""
    called: list[int] = []
    with wat(text).instantiate({"anywasm": {"check": lambda: called.append(1)}}) as instance:
        instance.exports["anywasm.fuel"]()
        with pytest.raises(DeadlineExceededError), instance.deadline(0.02):
            instance.exports["spin"]()
    assert called == [1]


@pytest.mark.capable(wasm=True, interrupt=True, serialize=True)
def test_loaded_artifact_can_be_stopped(vm: VM, wat: Callable[[str], Module]) -> None:
    artifact = wat(ENDLESS).serialize()
    with vm.load(artifact).instantiate() as instance:
        with pytest.raises(DeadlineExceededError), instance.deadline(0.02):
            instance.exports["for ever"]()
        assert instance.exports["seven"]() == 7


def test_start_function_may_take_long(wat: Callable[[str], Module]) -> None:
    text = """(module (global $n (mut i32) (i32.const 600000)) (start $s) (memory (export "m") 1)
      (func $s (loop (br_if 0 (global.get $n)
        (global.set $n (i32.sub (global.get $n) (i32.const 1)))))
        (i32.store (i32.const 0) (i32.const 9))))"""
    with wat(text).instantiate() as instance:
        assert instance.memory is not None
        assert instance.memory.read_u32(0) == 9
