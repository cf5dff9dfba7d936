"""What it costs to cross from Python to a guest and back, beside each binding's own API."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from anywasm.benchmarks.bindings import RAW, Raw
from anywasm.benchmarks.guests import WASM, code
from anywasm.benchmarks.suite import Measure
from anywasm.core.capabilities import Feature
from anywasm.core.instance import Instance
from anywasm.core.memory import Memory
from anywasm.core.registry import get_wasm_engine

pytestmark = [
    pytest.mark.subjects(*RAW),
    pytest.mark.usefixtures("turn"),
    pytest.mark.benchmark(max_time=0.1),
]

HOST_CALLS = 1000


def host(value: int) -> int:
    """The host function."""
    return value


class Own:
    """An instance of one of this project's engines, as the bindings are used."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        memory = instance.memory
        if memory is not None:
            self._memory: Memory = memory
            self.read, self.write = memory.read, memory.write

    def function(self, name: str) -> Callable[..., Any]:
        """The export."""
        function: Callable[..., Any] = self._instance.exports[name]
        return function

    def close(self) -> None:
        """Free the instance."""
        self._instance.close()


@pytest.fixture
def guest(subject: str, request: pytest.FixtureRequest) -> Any:
    """`crossing.wat` on the subject, or the module that the benchmark asks for."""
    name = getattr(request, "param", "crossing")
    if subject in RAW:
        yield RAW[subject]((WASM / f"{name}.wasm").read_bytes(), host)
        return
    vm = get_wasm_engine(subject)
    if name == "multi" and Feature.MULTI_VALUE not in vm.capabilities.features:
        pytest.skip("the engine has no multi-value")
    with vm.compile(code(vm, name)) as module:
        imports = {"env": {"host": host}} if module.imports else {}
        with closing(Own(module.instantiate(imports))) as own:
            yield own


CALLS: dict[str, tuple[Any, ...]] = {
    "empty": (),
    "add_i32": (20, 22),
    "add_i64": (1 << 40, 1),
    "add_f64": (0.5, 0.25),
}


@pytest.mark.parametrize("export", CALLS)
def bench_call(measure: Measure, guest: Raw, export: str) -> None:
    """One call of an export."""
    function, args = guest.function(export), CALLS[export]
    assert function(*args) == (sum(args) if args else None)
    measure.calls(f"call {export}", function, *args)


@pytest.mark.parametrize("guest", ["multi"], indirect=True)
def bench_multi_value(measure: Measure, guest: Raw) -> None:
    """One call with two results."""
    function = guest.function("swap")
    assert tuple(function(1, 2)) == (2, 1)
    measure.calls("call swap, two results", function, 1, 2)


def bench_host_call(measure: Measure, guest: Raw) -> None:
    """One call of a host function, out of a guest's loop."""
    function = guest.function("call_host")
    assert function(3) == 0
    measure.calls("host call", function, HOST_CALLS, repeats=HOST_CALLS)


@pytest.mark.parametrize("size", [16, 256, 4096, 65536])
def bench_read(measure: Measure, guest: Raw, size: int) -> None:
    """One read of a guest's memory."""
    assert guest.read(64, size) == bytes(size)
    measure.calls(f"read {size} B", guest.read, 64, size)


@pytest.mark.parametrize("size", [16, 256, 4096, 65536])
def bench_write(measure: Measure, guest: Raw, size: int) -> None:
    """One write to a guest's memory."""
    measure.calls(f"write {size} B", guest.write, 64, b"x" * size)
    assert guest.read(64, size) == b"x" * size
