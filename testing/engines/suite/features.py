from __future__ import annotations

from collections.abc import Callable

import pytest

from anywasm.core.capabilities import Feature
from anywasm.core.errors import CompileError
from anywasm.core.vm import VM

pytestmark = pytest.mark.capable(wasm=True)

#: A module for each feature, whose `run` gives 42.
SAMPLES = {
    Feature.MUTABLE_GLOBALS: """(global $g (export "g") (mut i32) (i32.const 41))
      (func (export "run") (result i32)
        global.get $g i32.const 1 i32.add global.set $g global.get $g)""",
    Feature.SIGN_EXTENSION: """(func (export "run") (result i32)
        i32.const 0xff i32.extend8_s i32.const 43 i32.add)""",
    Feature.SATURATING_FLOAT_TO_INT: """(func (export "run") (result i32)
        f32.const nan i32.trunc_sat_f32_s i32.const 42 i32.add)""",
    Feature.BULK_MEMORY: """(memory 1) (func (export "run") (result i32)
        i32.const 0 i32.const 42 i32.const 8 memory.fill
        i32.const 100 i32.const 0 i32.const 8 memory.copy
        i32.const 100 i32.load8_u)""",
    Feature.MULTI_VALUE: """(func $two (result i32 i32) i32.const 40 i32.const 2)
      (func (export "run") (result i32) call $two i32.add)""",
    Feature.REFERENCE_TYPES: """(table 42 externref)
      (func (export "run") (result i32) table.size 0)""",
    Feature.SIMD: """(func (export "run") (result i32)
        v128.const i32x4 1 2 42 4 i32x4.extract_lane 2)""",
    Feature.RELAXED_SIMD: """(func (export "run") (result i32)
        v128.const f32x4 1 2 42 4 i32x4.relaxed_trunc_f32x4_s i32x4.extract_lane 2)""",
    Feature.TAIL_CALL: """(func $down (param i32) (result i32)
        local.get 0 i32.eqz if (result i32) i32.const 42 else
        local.get 0 i32.const 1 i32.sub return_call $down end)
      (func (export "run") (result i32) i32.const 1000000 call $down)""",
    Feature.EXTENDED_CONST: """(global $g i32 (i32.add (i32.const 40) (i32.const 2)))
      (func (export "run") (result i32) global.get $g)""",
    Feature.EXCEPTIONS: """(tag $t (param i32))
      (func (export "run") (result i32)
        (block $caught (result i32)
          (try_table (catch $t $caught) i32.const 42 throw $t) unreachable))""",
    Feature.FUNCTION_REFERENCES: """(type $f (func (result i32)))
      (func $get (result i32) i32.const 42) (elem declare func $get)
      (func (export "run") (result i32) ref.func $get call_ref $f)""",
    Feature.GC: """(type $box (struct (field i32)))
      (func (export "run") (result i32) i32.const 42 struct.new $box struct.get $box 0)""",
    Feature.MEMORY64: """(memory i64 1)
      (func (export "run") (result i32)
        i64.const 8 i32.const 42 i32.store i64.const 8 i32.load)""",
    Feature.MULTI_MEMORY: """(memory 1) (memory $second 1)
      (func (export "run") (result i32)
        i32.const 0 i32.const 42 i32.store $second i32.const 0 i32.load $second)""",
    Feature.WIDE_ARITHMETIC: """(func (export "run") (result i32) (local i64)
        i64.const 40 i64.const 0 i64.const 2 i64.const 0 i64.add128
        local.set 0 local.get 0 drop i32.wrap_i64)""",
    Feature.THREADS: """(memory 1 1 shared)
      (func (export "run") (result i32)
        i32.const 0 i32.const 42 i32.atomic.store i32.const 0 i32.atomic.load)""",
}


def test_every_feature_has_a_sample() -> None:
    assert set(SAMPLES) == set(Feature)


@pytest.mark.parametrize("feature", Feature, ids=str)
def test_claimed_means_it_works_and_not_claimed_means_refused(
    vm: VM, assemble: Callable[[str], bytes], feature: Feature
) -> None:
    wasm = assemble(f"(module {SAMPLES[feature]})")
    if feature in vm.capabilities.features:
        with vm.compile(wasm) as module, module.instantiate() as instance:
            assert instance.exports["run"]() == 42
    else:
        with pytest.raises(CompileError):
            vm.compile(wasm)
