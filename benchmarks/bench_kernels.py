"""How fast guests compute, beside the same C as native code; `null` is plain Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from anywasm.benchmarks.guests import code
from anywasm.benchmarks.kernels import KERNELS
from anywasm.benchmarks.native import build_kernels, compiler
from anywasm.benchmarks.suite import Measure
from anywasm.core.registry import get_wasm_engine

NATIVE = "native C"
pytestmark = pytest.mark.subjects(NATIVE)


@cache
def expected(kernel: str) -> int:
    """What a kernel computes."""
    function, size = KERNELS[kernel]
    return function(size)


@pytest.fixture
def kernels(subject: str, tmp_path: Path) -> Iterator[Callable[[str], Callable[[int], int]]]:
    """The kernels of a subject, by name."""
    if subject == NATIVE:
        cc = compiler()
        if cc is None:
            pytest.skip("there is no C compiler `cc`")
        yield build_kernels(cc, tmp_path)
        return
    vm = get_wasm_engine(subject)
    with vm.compile(code(vm, "kernels")) as module, module.instantiate() as instance:
        yield instance.exports.__getitem__


@pytest.mark.parametrize("kernel", KERNELS)
def bench_kernel(
    measure: Measure, kernels: Callable[[str], Callable[[int], int]], kernel: str
) -> None:
    """One run of a kernel."""
    function, size = kernels(kernel), KERNELS[kernel][1]
    assert function(size) == expected(kernel)
    measure.calls(f"{kernel}({size})", function, size)
