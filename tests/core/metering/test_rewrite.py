from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import wasmtime

from anywasm.core.binary import read_interface
from anywasm.core.errors import CompileError
from anywasm.core.metering import RESERVE, SLICE, MeteringPlan, meter
from anywasm.core.metering.gate import TABLE
from anywasm.core.types import ExternKind

Metered = Callable[[str], Any]

#: Modules that between them have every shape of instruction, and every place of a function's index.
TEXTS = {
    "empty": "(module)",
    "imports": '(module (import "a" "b" (func)) (export "again" (func 0)))',
    "control": """(module (import "a" "b" (func $b)) (table 2 funcref) (type $t (func (param i32)))
      (func $first (param i32) (result i32) (local i64 f64)
        (block $x (block $y (br_table $x $y $x (local.get 0))) (br_if $x (local.get 0)) nop)
        (if (local.get 0) (then (call $b)) (else (return (i32.const 70000))))
        (call_indirect (type $t) (i32.const 1) (i32.const 0))
        (loop $l (result i32) (drop (select (i32.const 1) (i32.const 2) (local.get 0)))
          (drop (select (result f64) (f64.const 1) (f64.const 2) (local.get 0)))
          (call $first (i32.const -9)))
        (loop (br_if 0 (local.tee 0 (i32.const 0)))) (unreachable)))""",
    "numbers": """(module (memory 1) (global $g (mut f32) (f32.const 1.5))
      (func (drop (f32.add (global.get $g) (f32.const 2))) (global.set $g (f32.const 3))
        (drop (f64.mul (f64.const 3) (f64.load offset=70000 (i32.const 1))))
        (drop (i32.wrap_i64 (i64.const -123456789012345)))
        (drop (i32.trunc_sat_f64_u (f64.const 3))) (drop (i64.extend16_s (i64.const 5)))
        (i64.store32 offset=8 (memory.size) (i64.const 1)) (drop (memory.grow (i32.const 1)))))""",
    "bulk": """(module (memory 1) (table $t 4 funcref) (data $d "data") (elem $e func $f)
      (func $f (local f32)
        (memory.fill (i32.const 0) (i32.const 0) (i32.const 9))
        (memory.copy (i32.const 0) (i32.const 0) (i32.const 9))
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)
        (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e)
        (table.copy $t $t (i32.const 0) (i32.const 0) (i32.const 1))
        (table.fill $t (i32.const 0) (ref.null func) (i32.const 1))
        (drop (table.grow $t (ref.func $f) (i32.const 1))) (drop (table.size $t))
        (table.set $t (i32.const 0) (table.get $t (i32.const 1)))
        (drop (ref.is_null (ref.func $f)))
        (loop (memory.fill (i32.const 0) (i32.const 0) (i32.const 9)))))""",
    "indices": """(module (import "a" "b" (func $b)) (table $t 9 funcref) (table $u 9 funcref)
      (global funcref (ref.func $f)) (global funcref (ref.null func)) (start $f)
      (elem (i32.const 0) func $f $g $f) (elem func $g $f) (elem declare func $f)
      (elem (table $u) (i32.const 0) func $b $f)
      (elem (i32.const 3) funcref (ref.func $f) (ref.null func)) (elem funcref (ref.func $f))
      (elem (table $u) (i32.const 3) funcref (ref.func $f)) (elem declare funcref (ref.func $f))
      (func $f (export "f")) (func $g (export "g") (call $f) (call $b)))""",
    "vectors": """(module (memory 1)
      (func (param v128) (result v128) (v128.store (i32.const 0) (v128.const i64x2 1 2))
        (v128.store8_lane 3 (i32.const 0) (local.get 0))
        (drop (v128.load64_zero (i32.const 8))) (drop (i8x16.extract_lane_s 1 (local.get 0)))
        (drop (v128.load16_lane 2 (i32.const 8) (local.get 0)))
        (drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get 0) (local.get 0)))
        (loop (drop (i8x16.splat (i32.const 1))) (drop (i8x16.eq (local.get 0) (local.get 0))))
        (f64x2.convert_low_i32x4_u (i64x2.mul (local.get 0) (local.get 0)))))""",
    "many values": """(module (func $swap (param i32 i64) (result i64 i32)
        (local.get 0) (local.get 1) (loop (param i32 i64) (result i64 i32) (call $swap))))""",
    "names": """(module $m (import "anywasm" "check" (func)) (import "anywasm" "check'" (func))
      (func $named (export "anywasm.fuel")) (memory (export "anywasm.fuel'") 1))""",
}


@pytest.mark.parametrize("name", TEXTS)
def test_result_is_valid_and_offers_what_the_original_does(metered: Metered, name: str) -> None:
    made = metered(TEXTS[name])
    wasmtime.Module.validate(wasmtime.Engine(), made.metered)
    plan, before, after = made.plan, made.interface, read_interface(made.metered)
    assert after.imports == (*before.imports, plan.check)
    assert [
        (e.name, e.type, plan.original(e.index) if e.kind is ExternKind.FUNCTION else e.index)
        for e in after.exports[:-1]
    ] == [(e.name, e.type, e.index) for e in before.exports]
    assert after.exports[-1].name == plan.fuel
    assert str(after.exports[-1].type) == "global mut i64"
    assert after.functions == before.functions + 1
    assert after.start == (None if before.start is None else plan.index(before.start))


def test_every_index_of_the_moved_function_follows_it(metered: Metered) -> None:
    text = """(module (import "a" "b" (func)) (table $t 9 funcref) (type $i (func (result i32)))
      (global $r funcref (ref.func $one))
      (elem (i32.const 0) func $two $one) (elem (i32.const 3) funcref (ref.func $one))
      (func $one (export "one") (result i32) (i32.const 1))
      (func $two (export "two") (result i32) (i32.const 2))
      (func (export "direct") (result i32)
        (i32.add (call $one) (i32.mul (i32.const 10) (call $two))))
      (func (export "at") (param i32) (result i32)
        (table.set $t (i32.const 5) (ref.func $one)) (table.set $t (i32.const 6) (global.get $r))
        (call_indirect (type $i) (local.get 0))))"""
    made = metered(text)
    for name, args, result in (
        ("one", (), 1),
        ("two", (), 2),
        ("direct", (), 21),
        *(("at", (place,), value) for place, value in ((0, 2), (1, 1), (3, 1), (5, 1), (6, 1))),
    ):
        made.run(name, *args)
        assert made.result == result, (name, args)
    assert made.checks == 0


def stretched(wasm: bytes, old: bytes, new: bytes) -> bytes:
    """The module with the beginning of a function's body, from its locals on, replaced."""
    changed, at = bytearray(wasm), wasm.index(old)
    for size in (at - 1, wasm.rindex(b"\x0a", 0, at) + 1):
        changed[size] += len(new) - len(old)
    changed[at : at + len(old)] = new
    wasmtime.Module.validate(wasmtime.Engine(), bytes(changed))
    return bytes(changed)


def rewritten(wasm: bytes) -> bytes:
    interface = read_interface(wasm)
    return meter(wasm, interface, MeteringPlan.of(interface))


@pytest.mark.parametrize("size", range(1, 6))
def test_padded_function_indices(metered: Metered, size: int) -> None:
    made = metered(
        "(module (func (result i32) i32.const 8) (func (result i32) call 0 call 1 drop))"
    )
    padded = b"\0\x10" + b"\x80" * (size - 1) + b"\0"
    result = rewritten(stretched(made.wasm, b"\0\x10\0", padded))
    wasmtime.Module.validate(wasmtime.Engine(), result)
    # Function 0 is the second of the code now, and called under its new index.
    assert b"\x10\x02\x10\x01\x1a" in result


@pytest.mark.parametrize(
    ("text", "opcode"),
    [
        ("i32.trunc_sat_f32_s", b"\xfc\x00"),
        ("i64.trunc_sat_f64_u", b"\xfc\x07"),
        ("memory.init 0", b"\xfc\x08"),
        ("data.drop 0", b"\xfc\x09"),
        ("memory.copy", b"\xfc\x0a"),
        ("table.grow 0", b"\xfc\x0f"),
        ("table.size 0", b"\xfc\x10"),
        ("table.fill 0", b"\xfc\x11"),
        ("v128.load offset=70000", b"\xfd\x00"),
        ("v128.const i64x2 0x10100b0b0b0b0b0b -2", b"\xfd\x0c"),
        ("i8x16.extract_lane_s 3", b"\xfd\x15"),
        ("v128.load8_lane offset=300 2", b"\xfd\x54"),
        ("i8x16.eq", b"\xfd\x23"),
        ("i64x2.mul", b"\xfd\xd5\x01"),
    ],
)
def test_padded_numbers_behind_a_prefix(metered: Metered, text: str, opcode: bytes) -> None:
    made = metered(
        f"""(module (memory 1) (table 1 funcref) (data "") (func unreachable {text} unreachable
        (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))"""
    )
    begin = b"\0\0" + opcode
    for size in range(len(opcode), 6):
        septets = opcode[1:-1] + bytes([opcode[-1] | 0x80]) + b"\x80" * (size - len(opcode)) + b"\0"
        assert rewritten(stretched(made.wasm, begin, begin[:3] + septets)) == made.metered


@pytest.mark.parametrize("number", [b"\x12", b"\x92\0", b"\xff\xff\xff\xff\x0f"])
def test_unknown_numbers_behind_a_prefix_are_refused(metered: Metered, number: bytes) -> None:
    wasm = metered("(module (func (drop (i32.const 0)) nop nop nop nop))").wasm
    changed = wasm.replace(b"\x41\0\x1a\x01\x01\x01", (b"\xfc" + number).ljust(6, b"\x01"))
    with pytest.raises(CompileError, match="cannot be metered: fc"):
        rewritten(changed)


@pytest.mark.parametrize(
    "text",
    [
        "(module (func $f (return_call $f)))",
        "(module (memory 1 1 shared) (func (drop (i32.atomic.load (i32.const 0)))))",
        "(module (func (block $b (try_table (catch_all $b)))))",
        "(module (type $s (struct)) (func (drop (struct.new $s))))",
        "(module (tag))",
    ],
)
def test_what_is_not_known_is_refused(metered: Metered, text: str) -> None:
    with pytest.raises(CompileError, match="cannot be metered"):
        metered(text)


SPENT = """(module (memory 1 2) (table $t 1000 funcref)
  (func $nothing (export "nothing"))
  (func (export "turn") (param i32)
    (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func $fib (export "fib") (param i32)
    (if (local.get 0) (then (call $fib (i32.sub (local.get 0) (i32.const 1)))
                            (call $fib (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "fill") (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))
  (func (export "fills") (param i32)
    (table.fill $t (i32.const 0) (ref.null func) (local.get 0)))
  (func (export "grow") (drop (memory.grow (i32.const 0))))
  (func (export "widen") (drop (table.grow $t (ref.null func) (i32.const 0)))))"""


def test_fuel_is_spent_by_what_is_done(metered: Metered) -> None:
    made = metered(SPENT)

    def spent(name: str, *args: int) -> int:
        return 1_000_000 - int(made.run(name, *args, fuel=1_000_000))

    assert spent("nothing") == 1
    assert 1000 <= spent("turn", 1000) <= 1001 + RESERVE
    assert 100_000 <= spent("turn", 100_000) <= 100_001 + RESERVE
    assert spent("fib", 10) == 2**11 - 1
    assert spent("fill", 64 * 500) == 501
    assert spent("fills", 700) == 701
    assert made.checks == 0
    assert made.run("nothing") == SLICE - 1


def test_spent_fuel_asks_for_more(metered: Metered) -> None:
    made = metered(SPENT)
    made.refill = 10_000
    made.run("turn", 100_000, fuel=5)
    assert 9 <= made.checks <= 11
    assert made.run("nothing", fuel=0) == 10_000
    assert made.run("nothing", fuel=1) == 0
    for name, args in (("grow", ()), ("widen", ()), ("fill", (65536,)), ("fills", (1000,))):
        made.checks = 0
        made.run(name, *args, fuel=900)
        assert made.checks == 1, name
    assert made.asked == [(0, 1), (0, 1000 + TABLE)]


def test_code_that_is_long_costs_more(metered: Metered) -> None:
    long = "(drop (i32.const 1))" * 10_000
    text = f"""(module (func (export "run") (param i32) {long}
        (loop $l {long} (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"""
    used = 1_000_000 - metered(text).run("run", 10, fuel=1_000_000)
    assert used >= (30_000 + 30_000 * 10) // 64


def test_names_are_kept_and_other_custom_sections_dropped(metered: Metered) -> None:
    wasm = metered('(module $m (func $f) (@custom "mine" "x"))')
    assert {c.name for c in wasm.interface.custom_sections} == {"name", "mine"}
    assert [c.name for c in read_interface(wasm.metered).custom_sections] == ["name"]
