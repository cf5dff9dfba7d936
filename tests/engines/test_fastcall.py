"""The C extension and the Python that it stands in for do the same, word for word."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from importlib.util import find_spec

import pytest

from anywasm.core.errors import ConcurrencyError
from anywasm.core.gate import CallGate
from anywasm.core.registry import engine_statuses

WAT = """(module %(imports)s
  (import "env" "i" (func $i (param i32) (result i32)))
  (import "env" "l" (func $l (param i64) (result i64)))
  (import "env" "f" (func $f (param f32) (result f32)))
  (import "env" "d" (func $d (param f64) (result f64)))
  (import "env" "none" (func $none (param i32)))
  (import "env" "many" (func $many (param i32 i64 f32 f64) (result f64 f32 i64 i32)))
  (memory (export "memory") 1 3)
  (func (export "i") (param i32) (result i32) local.get 0)
  (func (export "l") (param i64) (result i64) local.get 0)
  (func (export "f") (param f32) (result f32) local.get 0)
  (func (export "d") (param f64) (result f64) local.get 0)
  (func (export "none"))
  (func (export "boom") unreachable)
  (func (export "host_i") (param i32) (result i32) local.get 0 call $i)
  (func (export "host_l") (param i64) (result i64) local.get 0 call $l)
  (func (export "host_f") (param f32) (result f32) local.get 0 call $f)
  (func (export "host_d") (param f64) (result f64) local.get 0 call $d)
  (func (export "host_none") (param i32) local.get 0 call $none)
  (func (export "host_many") (result f64 f32 i64 i32)
    i32.const -1 i64.const -1 f32.const 1.5 f64.const -0.0 call $many)
  (func (export "wide") (param i32 i64 f32 f64 i32 i64 f32 f64 i32 i64 f32 f64)
    (result f64 f32 i64 i32 f64 f32 i64 i32 f64 f32 i64 i32)
    local.get 11 local.get 10 local.get 9 local.get 8 local.get 7 local.get 6
    local.get 5 local.get 4 local.get 3 local.get 2 local.get 1 local.get 0)
  %(exports)s)
"""
VECTORS = {
    "imports": '(import "env" "v" (func $v (param v128) (result v128)))',
    "exports": """
      (func (export "v") (param v128) (result v128) local.get 0)
      (func (export "host_v") (param v128) (result v128) local.get 0 call $v)
      (func (export "ref") (param externref))""",
}

OUTCOMES = """
import array, sys, threading
from decimal import Decimal
from anywasm.core import get_wasm_engine

class Number(int):
    pass

class Unfit:
    def __float__(self):
        raise KeyError("own error")
    __index__ = __float__
    def __repr__(self):
        return "Unfit()"

class Four:
    def __iter__(self):
        return iter((1.0, 2.0, 3, 4))
    def __repr__(self):
        return "Four()"

VALUES = [
    0, 1, -1, True, 2**31, -2**31, -2**31 - 1, 2**32 - 1, 2**32, -2**63, -2**63 - 1, 2**63,
    2**64 - 1, 2**64, 10**400, Number(7), 1.5, -0.0, 1e300, -1e300, float("inf"), float("nan"),
    Decimal("2.5"), "1", "", None, b"", bytes(range(16)), bytearray(16), memoryview(bytes(16)),
    bytes(15), bytes(17), memoryview(bytes(32))[::2], array.array("i", [1] * 4), (), (1,),
    (1.0, 2.0, 3, 4), [1, 2, 3, 4], (1.0, 2.0, 3), (1.0, 2.0, 3, 4, 5), (1, 2, 3, 2**40),
    (1, "2", 3, 4), Four(), Unfit(), (1.0, Unfit(), 3, 4), object,
]

def chain(error):
    while error is not None:
        yield type(error).__name__, str(error), error.__suppress_context__
        error = error.__cause__

def outcome(call, *args, **names):
    try:
        return repr(call(*args, **names))
    except Exception as error:
        return list(chain(error))

def show(*what):
    print(*(str(item).split(" at 0x")[0][:200] for item in what))

answer = None
def host(*args):
    if args != (2**31,):
        show("  host got", args)
    if answer is ValueError:
        raise ValueError("own error")
    return answer

module = get_wasm_engine(sys.argv[2]).compile(bytes.fromhex(sys.argv[1]))
vectors = ["v"] if "v" in module.exports_by_name else []
numbers = ["i", "l", "f", "d", *vectors]
names = [*numbers, "none", "many"]
instance = module.instantiate({"env": dict.fromkeys(names, host)})
exports, memory = instance.exports, instance.memory

for name in numbers:
    for value in VALUES:
        show(name, repr(value), outcome(exports[name], value))
for name in names[:-1]:
    for answer in [*VALUES, ValueError]:
        given = bytes(16) if name == "v" else 1
        show("host", name, repr(answer), outcome(exports[f"host_{name}"], given))
for answer in [*VALUES, ValueError]:
    show("many", repr(answer), outcome(exports["host_many"]))
for args in ((), (1,), (1, 2), (None,)):
    for name in ("i", "none", "boom", *(["ref"] if vectors else [])):
        show(name, args, outcome(exports[name], *args))
show(outcome(exports["wide"], *[1, 2, 3.5, 4.5] * 3), outcome(exports["wide"], *[-1] * 12))
show(outcome(exports["wide"], 1))

plain = [value for value in VALUES if value is not object]
for kind in ("u8", "u16", "u32", "u64", "f32", "f64"):
    for value in plain:
        show(kind, repr(value), outcome(getattr(memory, f"write_{kind}"), 8, value),
             memory.read(0, 24).hex(), outcome(getattr(memory, f"read_{kind}"), 8))
    for ptr in (65535, 65536, -1, 2**31, 2**63, 2**70, True):
        show(kind, ptr, outcome(getattr(memory, f"write_{kind}"), ptr, 1),
             outcome(getattr(memory, f"read_{kind}"), ptr))
    show(outcome(getattr(memory, f"write_{kind}"), ptr=0, value=1))
    show(outcome(getattr(memory, f"read_{kind}"), ptr=0))
for value in plain:
    show("write", repr(value), outcome(memory.write, 8, value), memory.read(0, 48).hex())
for ptr in (65530, 65536, 65537, -1, 2**63, 2**70):
    for size in (0, 1, 6, 7, -1, 2**63, 2**70):
        show("read", ptr, size, outcome(memory.read, ptr, size))
    show("write", ptr, outcome(memory.write, ptr, b"abc"), outcome(memory.write, ptr, b""))
show(outcome(memory.read, ptr=0, size=2), outcome(memory.write, ptr=0, data=b"12"))
memory.grow(1)
show(outcome(memory.read, 65534, 4), outcome(memory.write, 131070, b"abc"))

answer = 1
with instance.deadline(0):
    show(outcome(exports["none"]), outcome(exports["i"], "early"))
def other(): show(outcome(exports["none"]))
def busy(*args):
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    with instance.deadline(0):
        show("nested", outcome(exports["none"]))
    show("inside", outcome(exports["i"], 5), outcome(instance.close))
    return 1
with module.instantiate({"env": dict.fromkeys(names, busy)}) as another:
    first, instance = instance, another
    exports = another.exports
    show(outcome(exports["host_i"], 1), outcome(exports["i"], 5))
for call in (lambda: exports["none"](), lambda: exports["i"]("late"), lambda: memory.read(0, 1)):
    show(outcome(call))
kept = memory
first.close()
for call in (kept.read, kept.write_u8):
    show(outcome(call, 0, 1))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]

ENGINES = [
    pytest.param(
        status.name, marks=pytest.mark.skipif(status.error is not None, reason=str(status.error))
    )
    for status in engine_statuses()
    if status.name != "null"
]

needs_extension = pytest.mark.skipif(
    find_spec("anywasm.engines._fastcall") is None, reason="the C extension was not built"
)


def outcomes(
    monkeypatch: pytest.MonkeyPatch, run: Run, wasm: bytes, engine: str, enabled: str
) -> list[str]:
    monkeypatch.setenv("ANYWASM_FASTCALL", enabled)
    done = run(OUTCOMES, wasm.hex(), engine)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@needs_extension
@pytest.mark.parametrize("engine", ENGINES)
def test_both_ways_have_the_same_outcomes(
    monkeypatch: pytest.MonkeyPatch, run_python: Run, assemble: Callable[[str], bytes], engine: str
) -> None:
    wasm = assemble(WAT % (VECTORS if engine == "wasmtime" else dict.fromkeys(VECTORS, "")))
    in_c = outcomes(monkeypatch, run_python, wasm, engine, "1")
    assert in_c == outcomes(monkeypatch, run_python, wasm, engine, "0")
    assert len(in_c) > 700


@needs_extension
@pytest.mark.parametrize("enabled", ["1", "0"])
def test_the_environment_chooses(
    monkeypatch: pytest.MonkeyPatch, run_python: Run, enabled: str
) -> None:
    monkeypatch.setenv("ANYWASM_FASTCALL", enabled)
    done = run_python("from anywasm.engines import fastcall; print(int(fastcall.ENABLED))")
    assert done.stdout.strip() == enabled, done.stderr


@needs_extension
def test_the_lock_is_one_threads_and_reentrant() -> None:
    from anywasm.engines._fastcall import Lock

    lock = Lock()
    gate = CallGate("it", lock=lock)
    seen: list[object] = []

    def other() -> None:
        seen.extend((gate.acquire(False), lock._is_owned()))
        with pytest.raises(RuntimeError, match="un-acquired"):
            gate.release()
        with pytest.raises(ConcurrencyError, match="closed while a call is running"):
            gate.close()

    assert gate.acquire(False)
    assert gate.acquire(False)
    gate.release()
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [False, False]
    assert lock._is_owned()
    gate.release()
    assert not lock._is_owned()
    with pytest.raises(RuntimeError, match="un-acquired"):
        gate.release()
    with pytest.raises(ValueError, match="does not wait"):
        lock.acquire(True)
    assert gate.close()


@needs_extension
def test_what_does_not_fit_is_refused() -> None:
    from anywasm.core.memory import Memory
    from anywasm.core.types import FuncType
    from anywasm.engines._fastcall import Host, Lock, hasten_memory

    gates = (Lock(), CallGate("it"))
    for gate in gates:
        with pytest.raises(TypeError):
            Host(None, gate, "f", FuncType(), b"", b"", print)  # type: ignore[arg-type]
    for cls in (Memory, dict):
        with pytest.raises(TypeError, match="no subclass of Memory"):
            hasten_memory(cls)  # type: ignore[type-var]
