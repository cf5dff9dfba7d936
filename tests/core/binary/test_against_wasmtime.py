from __future__ import annotations

import pytest
import wasmtime

from anywasm.core.binary import read_interface, strip_to_interface
from anywasm.core.types import (
    ExternType,
    FuncType,
    GlobalType,
    Limits,
    MemoryType,
    TableType,
    TagType,
    ValueType,
)

# wasmtime's C API has no names for v128 and typed references: it aborts the process when asked.
MODULES = {
    "nothing": "",
    "functions": """
        (import "env" "log" (func $log (param i32 i32)))
        (import "env" "now" (func (result i64)))
        (func (export "one") (param i32 i64 f32 f64 funcref externref) (result i32)
          unreachable)
        (func (export "several") (result i32 f64 i64) unreachable)
        (export "log" (func $log))""",
    "several exports of one function": '(func $f (export "a") (export "b")) (export "" (func $f))',
    "names beyond ASCII": r'(import "é" "\u{1f600}" (func)) (func (export "\00\"\u{7fff}"))',
    "duplicate imports": '(import "m" "f" (func)) (import "m" "f" (func (param i32)))',
    "memories": """
        (import "m" "memory" (memory 1))
        (memory (export "bounded") 1 2)
        (memory (export "shared") 1 65536 shared)
        (memory (export "64") i64 0 0x1000000000000)
        (memory (export "bytes") 100 200 (pagesize 1))""",
    "tables": """
        (import "m" "table" (table 0 funcref))
        (table (export "bounded") 1 4294967294 externref)
        (table (export "filled") 3 funcref (ref.null func))""",
    "globals": """
        (import "m" "constant" (global $c i32))
        (import "m" "variable" (global (mut i64)))
        (global (export "i32") i32 (i32.add (global.get $c) (i32.const -1)))
        (global (export "i64") (mut i64) (i64.const -1))
        (global (export "f32") f32 (f32.const nan))
        (global (export "f64") (mut f64) (f64.const -0.0))
        (global (export "funcref") funcref (ref.func $f))
        (global (export "externref") (mut externref) (ref.null extern))
        (func $f)""",
    "tags": '(import "m" "tag" (tag (param i32))) (tag (export "own") (param f64 i64)) (tag)',
    "all kinds, with contents": r"""
        (import "m" "f" (func $i (param i32)))
        (import "m" "t" (table 1 funcref))
        (import "m" "m" (memory 1))
        (import "m" "g" (global i32))
        (import "m" "tag" (tag))
        (func $f (export "f") (local i32) (call $i (i32.const 0)) (memory.init $d
          (i32.const 0) (i32.const 0) (i32.const 1)))
        (table (export "t") 2 2 funcref)
        (memory (export "m") 1)
        (global (export "g") f32 (f32.const 1))
        (tag (export "tag") (param i64))
        (start $f)
        (elem (i32.const 0) func $f $f)
        (data (i32.const 8) "active") (data $d "passive")""",
}


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_custom_page_sizes = True
    config.wasm_threads = True
    config.shared_memory = True
    return wasmtime.Engine(config)


def value_type(theirs: wasmtime.ValType) -> ValueType:
    # The binding calls externref by the name it had in the C API of old.
    return ValueType(str(theirs).replace("anyref", "externref"))


def value_types(theirs: list[wasmtime.ValType]) -> tuple[ValueType, ...]:
    return tuple(map(value_type, theirs))


def limits(theirs: wasmtime.Limits) -> Limits:
    return Limits(theirs.min, theirs.max)


def extern_type(theirs: object) -> ExternType:
    if isinstance(theirs, wasmtime.FuncType):
        return FuncType(value_types(theirs.params), value_types(theirs.results))
    if isinstance(theirs, wasmtime.MemoryType):
        return MemoryType(
            limits(theirs.limits), theirs.is_shared, theirs.is_64, int(theirs.page_size)
        )
    if isinstance(theirs, wasmtime.TableType):
        return TableType(value_type(theirs.element), limits(theirs.limits))
    if isinstance(theirs, wasmtime.GlobalType):
        return GlobalType(value_type(theirs.content), theirs.mutable)
    assert isinstance(theirs, wasmtime.TagType)
    return TagType(value_types(theirs.functype.params))


@pytest.mark.parametrize("wat", MODULES.values(), ids=MODULES.keys())
def test_imports_and_exports_are_those_that_wasmtime_finds(
    engine: wasmtime.Engine, wat: str
) -> None:
    wasm = bytes(wasmtime.wat2wasm(f"(module {wat})"))
    theirs = wasmtime.Module(engine, wasm)
    ours = read_interface(wasm)
    assert [(i.module, i.name, i.type) for i in ours.imports] == [
        (i.module, i.name, extern_type(i.type)) for i in theirs.imports
    ]
    assert [(e.name, e.type) for e in ours.exports] == [
        (e.name, extern_type(e.type)) for e in theirs.exports
    ]


@pytest.mark.parametrize("wat", MODULES.values(), ids=MODULES.keys())
def test_a_stripped_module_has_the_same_interface(wat: str) -> None:
    wasm = bytes(wasmtime.wat2wasm(f"(module {wat})"))
    assert read_interface(strip_to_interface(wasm)) == read_interface(wasm)
