from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

from anywasm.core.binary import ModuleInterface, read_interface
from anywasm.core.errors import CompileError
from anywasm.core.types import (
    CustomSection,
    ExportType,
    ExternType,
    FuncType,
    GlobalType,
    ImportType,
    Limits,
    MemoryType,
    TableType,
    TagType,
    ValueType,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Module = Callable[..., bytes]
    Vector = Callable[..., bytes]
    Name = Callable[[str], bytes]

I32, I64, REF = ValueType.I32, ValueType.I64, ValueType.REF
FUNCREF, EXTERNREF = ValueType.FUNCREF, ValueType.EXTERNREF
NO_PARAMETERS = b"\x60\0\0"


def exported_type(wat: str) -> ExternType:
    (export,) = read_interface(bytes(wat2wasm(f"(module {wat})"))).exports
    return export.type


def test_an_empty_module_has_an_empty_interface(module: Module) -> None:
    assert read_interface(module()) == ModuleInterface((), (), (), None)


def test_imports_keep_order_and_duplicates() -> None:
    wasm = wat2wasm(
        """(module
        (import "b" "x" (func (param i32)))
        (import "a" "x" (memory 1))
        (import "b" "x" (func (param i32)))
        (import "" "" (func (param i64))))"""
    )
    assert read_interface(bytes(wasm)).imports == (
        ImportType("b", "x", FuncType((I32,))),
        ImportType("a", "x", MemoryType(Limits(1))),
        ImportType("b", "x", FuncType((I32,))),
        ImportType("", "", FuncType((I64,))),
    )


def test_an_index_space_begins_with_the_imports() -> None:
    wasm = wat2wasm(
        """(module
        (import "m" "f" (func $f (param i32)))
        (import "m" "g" (global $g i32))
        (func $own (result i64) i64.const 0)
        (global $own (mut i64) (i64.const 0))
        (export "again" (func $f)) (export "own" (func $own))
        (export "again g" (global $g)) (export "own g" (global $own)))"""
    )
    assert read_interface(bytes(wasm)).exports == (
        ExportType("again", FuncType((I32,)), 0),
        ExportType("own", FuncType((), (I64,)), 1),
        ExportType("again g", GlobalType(I32), 0),
        ExportType("own g", GlobalType(I64, mutable=True), 1),
    )


def test_the_start_function_is_named_by_its_index() -> None:
    wat = '(module (import "m" "f" (func)) (func $s) (start $s))'
    assert read_interface(bytes(wat2wasm(wat))).start == 1


def test_custom_sections_keep_order_and_duplicates(module: Module) -> None:
    wasm = module((0, b"\1b1"), (1, b"\0"), (0, b"\1a2"), (0, b"\1b3"), (0, b"\0"))
    assert read_interface(wasm).custom_sections == (
        CustomSection("b", b"1"),
        CustomSection("a", b"2"),
        CustomSection("b", b"3"),
        CustomSection("", b""),
    )


def test_code_and_data_are_not_looked_at(module: Module) -> None:
    wasm = module((3, b"\0"), (9, b"\xff"), (12, b"\xff"), (10, b"\xff\xff"), (11, b"\xff"))
    assert read_interface(wasm) == ModuleInterface()


@pytest.mark.parametrize(
    ("wat", "expected"),
    [
        ('(memory (export "m") 0)', MemoryType(Limits(0))),
        ('(memory (export "m") 1 2 shared)', MemoryType(Limits(1, 2), shared=True)),
        (
            '(memory (export "m") i64 1 0x1000000000000)',
            MemoryType(Limits(1, 2**48), memory64=True),
        ),
        ('(memory (export "m") 7 (pagesize 1))', MemoryType(Limits(7), page_size=1)),
        ('(table (export "t") 1 externref)', TableType(EXTERNREF, Limits(1))),
        ('(table (export "t") i64 1 9 funcref)', TableType(FUNCREF, Limits(1, 9), table64=True)),
        ('(table (export "t") 1 funcref (ref.null func))', TableType(FUNCREF, Limits(1))),
        (
            '(type $f (func)) (func $x) (table (export "t") 1 (ref $f) (ref.func $x))',
            TableType(REF, Limits(1)),
        ),
        ('(global (export "g") (ref null func) (ref.null func))', GlobalType(FUNCREF)),
        ('(global (export "g") (ref null extern) (ref.null extern))', GlobalType(EXTERNREF)),
        ('(global (export "g") anyref (ref.null none))', GlobalType(REF)),
        ('(global (export "g") exnref (ref.null exn))', GlobalType(REF)),
        ('(func $f) (global (export "g") (ref func) (ref.func $f))', GlobalType(REF)),
        ('(type $f (func)) (global (export "g") (ref null $f) (ref.null $f))', GlobalType(REF)),
        ('(tag (export "t") (param i32 i64))', TagType((I32, I64))),
        (
            '(func (export "f") (param v128 f32 f64 anyref (ref extern)))',
            FuncType((ValueType.V128, ValueType.F32, ValueType.F64, REF, REF)),
        ),
        # Recursion groups take several places of the type index space.
        (
            """(rec (type $a (sub (func (param (ref null $b))))) (type $b (struct)))
            (type $c (sub final $a (func (param (ref null $b)))))
            (type $d (func (result i32))) (rec)
            (type $e (array (mut i8)))
            (type $s (struct (field i16) (field (mut (ref null $e))) (field f64)))
            (type $g (func (result i64)))
            (func (export "f") (type $g) i64.const 0)""",
            FuncType((), (I64,)),
        ),
        (
            """(type $a (sub (func (param i32)))) (type $b (sub final $a (func (param i32))))
            (func (export "f") (type $b))""",
            FuncType((I32,)),
        ),
    ],
)
def test_the_types_of_proposals(wat: str, expected: ExternType) -> None:
    assert exported_type(wat) == expected


@pytest.mark.parametrize(
    ("heap_type", "expected"), [(b"\x70", FUNCREF), (b"\x6f", EXTERNREF), (b"\x6e", REF)]
)
def test_a_nullable_reference_in_its_long_spelling(
    module: Module, heap_type: bytes, expected: ValueType
) -> None:
    body = b"\1\x63" + heap_type + b"\0\xd0" + heap_type + b"\x0b"
    (export,) = read_interface(module((6, body), (7, b"\1\1g\3\0"))).exports
    assert export.type == GlobalType(expected)


@pytest.mark.parametrize(
    ("declaration", "expression"),
    [
        ("i32", "(i32.const -2147483648)"),
        ("i64", "(i64.const -9223372036854775808)"),
        # 0x0b is also the opcode of `end`.
        ("f32", "(f32.const 0x1.161616p-104)"),
        ("i32", "(i32.const 11)"),
        ("f64", "(f64.const 1.0)"),
        ("v128", "(v128.const i8x16 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11)"),
        ("i32", "(global.get $i)"),
        ("i32", "(i32.sub (i32.add (global.get $i) (i32.const 1)) (i32.const 2))"),
        ("i32", "(i32.mul (global.get $i) (i32.const 3))"),
        ("i64", "(i64.sub (i64.add (i64.const 1) (i64.const 1)) (i64.const 2))"),
        ("i64", "(i64.mul (i64.const 2) (i64.const 3))"),
        ("funcref", "(ref.func $f)"),
        ("externref", "(ref.null extern)"),
        ("(ref null $array)", "(ref.null $array)"),
        ("(ref $struct)", "(struct.new $struct (i32.const 1) (i64.const 2))"),
        ("(ref $struct)", "(struct.new_default $struct)"),
        ("(ref $array)", "(array.new $array (i32.const 11) (i32.const 11))"),
        ("(ref $array)", "(array.new_default $array (i32.const 11))"),
        ("(ref $array)", "(array.new_fixed $array 2 (i32.const 11) (i32.const 11))"),
        ("i31ref", "(ref.i31 (i32.const 11))"),
        ("externref", "(extern.convert_any (ref.null any))"),
        ("anyref", "(any.convert_extern (ref.null extern))"),
    ],
)
def test_the_end_of_every_constant_expression_is_found(declaration: str, expression: str) -> None:
    found = exported_type(
        f"""(type $struct (struct (field i32) (field i64))) (type $array (array i32))
        (import "m" "i" (global $i i32)) (func $f)
        (global {declaration} {expression})
        (global (export "next") (mut i64) (i64.const 1))"""
    )
    assert found == GlobalType(I64, mutable=True)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([(1, b"\1\x61")], r"byte 0xa \(type section\): 1 elements cannot fit"),
        ([(1, b"\1\x61\0")], r"byte 0xb \(type section\): unknown form of type 0x61"),
        ([(1, b"\1\x60\1\x01\0")], r"byte 0xd \(type section\): unknown value type 0x01"),
        ([(1, b"\1\x60\1\x63\x7f\0")], r"byte 0xe \(type section\): unknown heap type -1"),
        ([(1, b"\1\x60\1\x63\xf0\x7e\0")], r"byte 0xe \(type section\): unknown heap type -144"),
        ([(1, b"\1\x5e\x7f\2")], r"byte 0xd \(type section\): mutability 0x02"),
        ([(2, b"\1\0\0\5\0")], r"byte 0xd \(import section\): unknown kind 0x05"),
        ([(2, b"\1\0\0\0\0")], r"byte 0xe \(import section\): there is no function type 0"),
        ([(1, b"\1\x5f\0"), (2, b"\1\0\0\0\0")], "there is no function type 0"),
        ([(1, b"\1\x60\0\0"), (3, b"\2\0\1")], r"byte 0x10 \(function section\).*type 1"),
        ([(4, b"\1\x7f\0\0")], r"byte 0xb \(table section\): a table holds references, not i32"),
        ([(4, b"\1\x40\1\x70\0\0\x0b")], r"byte 0xc \(table section\): the reserved byte"),
        ([(5, b"\1\x10\0")], r"byte 0xb \(memory section\): unknown flags 0x10"),
        ([(5, b"\1\0\x80\x80\x80\x80\x80\0")], r"byte 0xc .*too many bytes for 32 bits"),
        ([(5, b"\1\x08\0\x11")], r"byte 0xd \(memory section\): a page of 2\*\*17 bytes"),
        ([(6, b"\1\x7f\0\x10\0\x0b")], r"byte 0xd \(global section\): no constant instruction"),
        ([(6, b"\1\x7f\0\xfb\x09\x0b")], r"byte 0xd \(global section\): no constant instruction"),
        ([(6, b"\1\x7f\0\x41\0")], r"byte 0xf \(global section\): unexpected end"),
        ([(13, b"\1\1\0")], r"byte 0xb \(tag section\): unknown attribute 0x01"),
        ([(7, b"\1\0\5\0")], r"byte 0xc \(export section\): unknown kind 0x05"),
        ([(7, b"\1\0\0\0")], r"byte 0xd \(export section\): there is no function 0"),
        ([(7, b"\1\0\2\0")], r"byte 0xd \(export section\): there is no memory 0"),
        ([(8, b"\0")], r"byte 0xa \(start section\): there is no function 0"),
        ([(0, b"\2a")], r"byte 0xb \(custom section\): 2 bytes wanted, 1 left"),
        ([(0, b"\1\xff")], r"byte 0xb \(custom section\): a name is not valid UTF-8"),
    ],
)
def test_the_message_names_the_place(
    module: Module, sections: list[tuple[int, bytes]], message: str
) -> None:
    with pytest.raises(CompileError, match=message):
        read_interface(module(*sections))


def test_an_export_name_that_is_there_twice_is_refused(
    module: Module, vector: Vector, name: Name
) -> None:
    exports = vector(name("same") + b"\2\0", name("same") + b"\2\0")
    with pytest.raises(CompileError, match=r"byte 0x17 .*the export name 'same' is there twice"):
        read_interface(module((5, b"\1\0\0"), (7, exports)))


def test_types_of_large_modules_are_found(
    module: Module, vector: Vector, name: Name, leb: Callable[[int], bytes]
) -> None:
    types = vector(*[NO_PARAMETERS] * 300, b"\x60\1\x7e\0")
    functions = vector(*[leb(index % 300) for index in range(10_000)], leb(300))
    exports = vector(name("f") + b"\0" + leb(10_000), name("g") + b"\0" + leb(9_999))
    wasm = module((1, types), (3, functions), (7, exports))
    assert read_interface(wasm).exports == (
        ExportType("f", FuncType((I64,)), 10_000),
        ExportType("g", FuncType(), 9_999),
    )
