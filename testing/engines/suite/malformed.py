from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from anywasm.core.errors import ArgumentError, CompileError
from anywasm.core.vm import VM

pytestmark = pytest.mark.capable(wasm=True)

HEADER = b"\0asm\1\0\0\0"


@pytest.mark.parametrize(
    "wasm",
    [
        b"",
        b"\0",
        b"\0asm",
        b"wasm\1\0\0\0",
        b"(module)",
        b"\x7fELF\2\1\1\0",
        b"\0asm\2\0\0\0",
        HEADER[:-1],
        HEADER + b"\xff\0",
        HEADER + b"\1",
        HEADER + b"\1\x80\x80\x80\x80\x80\x80",
        HEADER + b"\1\x7f\0",
        HEADER + b"\1\4\1\x60\0\0\1\4\1\x60\0\0",
        HEADER + b"\3\2\1\0",
        HEADER + b"\x0a\4\1\2\0\x0b",
    ],
)
def test_malformed_module(vm: VM, wasm: bytes) -> None:
    with pytest.raises(CompileError):
        vm.compile(wasm)


#: Invalid modules with a function to call, where they compile.
CALLABLE = [
    '(module (func (export "f") (result i32)))',
    '(module (func (export "f") i32.add drop))',
    '(module (func (export "f") local.get 70000 drop))',
    '(module (func (export "f") call 70000))',
    '(module (func (export "f") br 70000))',
    '(module (func (export "f") i32.const 0 i32.load drop))',
    '(module (func (export "f") i32.const 1 global.set 70000))',
]

INVALID = """
import sys
from anywasm.core import CompileError, get_wasm_engine
vm = get_wasm_engine(sys.argv[1])
for wasm in sys.argv[2:]:
    try:
        with vm.compile(bytes.fromhex(wasm)) as module, module.instantiate() as instance:
            for call in instance.exports.values():
                call()
    except Exception:
        pass
vm.compile(b"\\0asm\\1\\0\\0\\0").close()
print("alive")
"""


@pytest.mark.capable(validates=False)
def test_invalid_modules_do_no_harm(
    vm: VM,
    assemble: Callable[[str], bytes],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_python(INVALID, vm.name, *(assemble(text).hex() for text in CALLABLE))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "alive\n"


@pytest.mark.capable(validates=True)
@pytest.mark.parametrize(
    "text",
    [
        "(module (func (result i32)))",
        "(module (func (result i32) i64.const 1))",
        "(module (func i32.add drop))",
        "(module (func local.get 0 drop))",
        "(module (func call 7))",
        "(module (func br 3))",
        "(module (func i32.const 0 i32.load drop))",
        "(module (func global.get 0 drop))",
        "(module (global i32 (i32.const 0)) (func i32.const 1 global.set 0))",
        "(module (global i32 (i64.const 0)))",
        "(module (memory 65537))",
        "(module (memory 2 1))",
        "(module (memory 1) (func i32.const 0 i32.load align=8 drop))",
        "(module (func (param i32)) (start 0))",
        '(module (func (export "a")) (func (export "a")))',
        "(module (func i32.const 1))",
        "(module (table 1 funcref) (func i32.const 0 call_indirect (type 4)))",
        *CALLABLE,
    ],
)
def test_invalid_module(vm: VM, assemble: Callable[[str], bytes], text: str) -> None:
    with pytest.raises(CompileError):
        vm.compile(assemble(text))
    vm.compile(HEADER).close()


def test_component(vm: VM, assemble: Callable[[str], bytes]) -> None:
    with pytest.raises(CompileError, match="component"):
        vm.compile(assemble("(component)"))


@pytest.mark.parametrize("wasm", ["(module)", None, 1, [0]])
def test_a_module_is_bytes(vm: VM, wasm: bytes) -> None:
    with pytest.raises(ArgumentError, match="a module is bytes"):
        vm.compile(wasm)


def test_any_buffer_will_do(vm: VM) -> None:
    for wasm in (bytearray(HEADER), memoryview(HEADER)):
        with vm.compile(wasm) as module:  # type: ignore[arg-type]
            assert (module.imports, module.exports) == ((), ())


MODULE = """(module
  (import "env" "host" (func (param i32 i64) (result f32)))
  (memory (export "memory") 1 2) (table 2 funcref) (elem (i32.const 0) 0 1)
  (global (mut i64) (i64.const 5)) (data (i32.const 3) "data")
  (func (export "run") (param i32) (result i32) (local i64)
    (block (loop (br_if 1 (local.get 0)) (br 1)))
    (if (result i32) (local.get 0) (then (i32.const 1)) (else (memory.size)))
    i32.const 0 f64.load drop))
"""

FUZZ = """
import random, sys
from anywasm.core import CompileError, get_wasm_engine
vm = get_wasm_engine(sys.argv[1])
wasm = bytes.fromhex(sys.argv[2])
draw = random.Random(1)
tried = refused = 0
for end in range(len(wasm)):
    tried += 1
    try:
        vm.compile(wasm[:end]).close()
    except CompileError:
        refused += 1
for _ in range(600):
    damaged = bytearray(wasm)
    for _ in range(draw.randint(1, 3)):
        byte = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        damaged[draw.randrange(8, len(wasm))] = byte
    tried += 1
    try:
        vm.compile(bytes(damaged)).close()
    except CompileError:
        refused += 1
vm.compile(wasm).close()
print(tried, refused)
"""


def test_damaged_modules_end_in_a_compile_error_or_compile(
    vm: VM,
    assemble: Callable[[str], bytes],
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_python(FUZZ, vm.name, assemble(MODULE).hex())
    assert done.returncode == 0, done.stderr[-2000:]
    tried, refused = map(int, done.stdout.split())
    assert tried > 700
    assert refused > 300
