from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from anywasm.core.binary import read_interface
from anywasm.core.errors import CompileError
from anywasm.core.metering import MeteringPlan, meter

WASM = bytes(
    wasmtime.wat2wasm("""(module
  (import "env" "host" (func $h (param i32 i64) (result f32)))
  (memory (export "memory") 1 2) (table 4 funcref) (elem (i32.const 0) 0 1)
  (global (mut i64) (i64.const 5)) (global funcref (ref.func 1)) (data (i32.const 3) "data")
  (elem func 1) (start $s) (func $s (local i32 f64))
  (func (export "run") (param i32) (result i32) (local i64)
    (block (loop (br_if 1 (local.get 0)) (br 1)))
    (block (br_table 0 0 (local.get 0))) (drop (call $h (i32.const 1) (i64.const 2)))
    (if (result i32) (local.get 0) (then (i32.const 1)) (else (memory.size)))
    (drop (memory.grow (i32.const 0))) (drop (v128.const i64x2 1 2))
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 9))
    i32.const 0 f64.load drop))""")
)


def _features() -> wasmtime.Engine:
    """An engine with the features that are metered."""
    config = wasmtime.Config()
    for name in ("threads", "tail_call", "memory64", "multi_memory", "exceptions", "gc"):
        setattr(config, f"wasm_{name}", False)
    config.wasm_function_references = False
    config.wasm_relaxed_simd = False
    return wasmtime.Engine(config)


ENGINE = _features()


def _meter(wasm: bytes) -> bytes:
    interface = read_interface(wasm)
    return meter(wasm, interface, MeteringPlan.of(interface))


def _is_valid(wasm: bytes) -> bool:
    with contextlib.suppress(wasmtime.WasmtimeError):
        wasmtime.Module.validate(ENGINE, wasm)
        return True
    return False


def _is_refused_or_metered(wasm: bytes) -> bool:
    try:
        metered = _meter(wasm)
    except CompileError:
        metered = b""
    return _is_valid(metered) or not _is_valid(wasm)


def test_truncated_modules() -> None:
    assert all(_is_refused_or_metered(WASM[:end]) for end in range(len(WASM)))


@settings(max_examples=500)
@given(st.lists(st.tuples(st.integers(8, len(WASM) - 1), st.integers(0, 255)), max_size=4))
def test_damaged_modules_are_refused_or_metered(changes: list[tuple[int, int]]) -> None:
    wasm = bytearray(WASM)
    for place, byte in changes:
        wasm[place] = byte
    assert _is_refused_or_metered(bytes(wasm))


@pytest.mark.parametrize("count", [20_000])
def test_time_is_linear_in_loops_and_calls(count: int, metered: Callable[[str], Any]) -> None:
    made = metered(f"(module (func $f {'(loop) (call $f)' * count}))")
    assert made.metered.count(b"\x10\x01") > count
