"""What is measured computes what it should, wherever it runs."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from anywasm.benchmarks.bindings import RAW
from anywasm.benchmarks.build import build_all
from anywasm.benchmarks.guests import WASM, code
from anywasm.benchmarks.kernels import KERNELS
from anywasm.benchmarks.native import build_kernels, compiler
from anywasm.benchmarks.stage import ANSWER, HEADERS, Filter, Quickstart
from anywasm.core.registry import engine_statuses, get_wasm_engine

ENGINES = [status.name for status in engine_statuses() if status.vm is not None]
BINDINGS = [
    name for name in RAW if name == "plain Python" or name.removesuffix(" binding") in ENGINES
]


def test_sources_and_modules_belong_together(tmp_path: Path) -> None:
    built = build_all(tmp_path)
    assert {path.name for path in built} == {path.name for path in WASM.glob("*.wasm")}
    stale = [path.name for path in built if path.read_bytes() != (WASM / path.name).read_bytes()]
    assert stale == [], "python -m anywasm.benchmarks.build"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_agree(engine: str, kernel: str) -> None:
    vm = get_wasm_engine(engine)
    python, size = KERNELS[kernel]
    with vm.compile(code(vm, "kernels")) as module, module.instantiate() as instance:
        # fib is exponential, and matrices have at most 64 rows.
        most = {"fib": size, "matrix": 64}.get(kernel, size)
        for n in (0, 1, 2, 3, 55, 56, 64, size):
            if n <= most:
                assert instance.exports[kernel](n) == python(n), n


def test_native_kernels_agree(tmp_path: Path) -> None:
    cc = compiler()
    if cc is None:
        pytest.skip("there is no C compiler `cc`")
    kernels = build_kernels(cc, tmp_path)
    for name, (python, size) in KERNELS.items():
        assert kernels(name)(size) == python(size), name


@pytest.mark.parametrize("binding", BINDINGS)
def test_bindings_do_what_is_compared(binding: str) -> None:
    asked = []

    def host(value: int) -> int:
        asked.append(value)
        return value + 1

    raw = RAW[binding]((WASM / "crossing.wasm").read_bytes(), host)
    assert raw.function("add_i32")(20, 22) == 42
    assert raw.function("call_host")(3) == 3
    assert asked == [0, 1, 2]
    data = random.Random(1).randbytes(70_000)
    raw.write(1000, data)
    assert raw.read(1000, len(data)) == data
    multi = RAW[binding]((WASM / "multi.wasm").read_bytes(), host)
    assert tuple(multi.function("swap")(1, 2)) == (2, 1)


@pytest.mark.parametrize("engine", ENGINES)
def test_filters_do_what_is_compared(engine: str, tmp_path: Path) -> None:
    vm = get_wasm_engine(engine)
    with vm.compile(code(vm, "header")) as module, closing(Filter(module)) as stage:
        for _ in range(3):
            assert stage.headers().pairs == [*HEADERS, (b"x-bench", b"1")]
    with vm.compile(code(vm, "body")) as module, closing(Filter(module)) as stage:
        for size in (1, 100_000):
            assert stage.body(b"b" * size) == b"b" * size
    with closing(Quickstart(vm, tmp_path)) as quickstart:
        assert quickstart.ask() == ANSWER.encode()
