"""Modules made to be too much for a compiler: they end in a module or a `CompileError`.

Each in a process of its own with bounds on memory and time, where a crash or a hang would show.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from anywasm import available_engines

Run = Callable[..., "subprocess.CompletedProcess[str]"]

SCRIPT = r"""
import resource
import sys

def leb(number):
    data = b""
    while number > 0x7F:
        data, number = data + bytes([number & 0x7F | 0x80]), number >> 7
    return data + bytes([number])

def section(number, content):
    return bytes([number]) + leb(len(content)) + content

def vector(items):
    return leb(len(items)) + b"".join(items)

def module(*sections):
    return b"\0asm\1\0\0\0" + b"".join(sections)

def functions(*bodies):
    code = vector([leb(len(body)) + body for body in bodies])
    declared = section(3, leb(len(bodies)) + bytes(len(bodies)))
    return section(1, b"\1\x60\0\0"), declared, section(10, code)

def names(count):
    return [leb(len(name)) + name for name in (b"%d" % number for number in range(count))]

def giant(kind):
    if kind == "functions":
        return module(*functions(*[b"\0\x0b"] * 5_000))
    if kind == "types":
        return module(section(1, vector([b"\x60\0\0"] * 50_000)))
    if kind == "imports":
        imports = section(2, vector([b"\1e" + name + b"\0\0" for name in names(10_000)]))
        return module(section(1, b"\1\x60\0\0"), imports)
    if kind == "exports":
        type, declared, code = functions(b"\0\x0b")
        exports = section(7, vector([name + b"\0\0" for name in names(20_000)]))
        return module(type, declared, exports, code)
    if kind == "segments":
        data = section(11, vector([b"\0\x41\0\x0b\0"] * 20_000))
        return module(section(5, b"\1\0\1"), data)
    if kind == "custom":
        return module(section(0, b"\1x" + bytes(60_000_000)))
    if kind == "blocks":
        return module(*functions(b"\0" + b"\x02\x40" * 10_000 + b"\x0b" * 10_001))
    if kind == "locals":
        return module(*functions(b"\1" + leb(50_000) + b"\x7f\x0b"))
    if kind == "endless locals":
        return module(*functions(b"\1" + leb(2**32 - 1) + b"\x7f\x0b"))
    if kind == "parameters":
        return module(section(1, b"\1\x60" + leb(50_000) + b"\x7f" * 50_000 + b"\0"))
    if kind == "operands":
        return module(*functions(b"\0" + b"\x41\0" * 50_000 + b"\x1a" * 50_000 + b"\x0b"))
    table = b"\x0e" + leb(50_000) + bytes(50_001)
    return module(*functions(b"\0\x41\0" + table + b"\x0b"))

from anywasm import get_wasm_engine
from anywasm.core.errors import CompileError

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
vm = get_wasm_engine(sys.argv[1])
for kind in sys.argv[2:]:
    wasm = giant(kind)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        vm.compile(wasm)
        end = "module"
    except CompileError as error:
        end = "refused" if str(error) else "no reason given"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(kind, end, "small" if grown < 512 * 1024 else f"{grown} KiB", sep=": ", flush=True)
"""

KINDS = (
    "functions", "types", "imports", "exports", "segments", "custom", "blocks", "locals",
    "endless locals", "parameters", "operands", "targets",
)  # fmt: skip
ENGINES = [name for name in ("wasmtime", "wasm3", "wasmer") if name in available_engines()]
#: What all must refuse: it is past what any engine takes.
REFUSED = {"endless locals", "parameters"}
#: What takes the compiler of 2021 too long for a test.
SLOW = {"wasmer": {"functions"}}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_giant_compiles_or_is_refused(run_python: Run, engine: str) -> None:
    kinds = [kind for kind in KINDS if kind not in SLOW.get(engine, ())]
    done = run_python(SCRIPT, engine, *kinds)
    ends = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert list(ends) == kinds, (done.returncode, done.stderr[-500:])
    for kind, end in ends.items():
        assert end in (
            ("refused: small",) if kind in REFUSED else ("module: small", "refused: small")
        ), kind
