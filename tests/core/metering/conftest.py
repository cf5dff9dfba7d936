from __future__ import annotations

from collections.abc import Callable

import pytest
import wasmtime

from anywasm.core.binary import read_interface
from anywasm.core.metering import MeteringPlan, meter


class Metered:
    """A metered module, run by an engine that knows nothing of metering."""

    def __init__(self, text: str) -> None:
        self.wasm = bytes(wasmtime.wat2wasm(text))
        self.interface = read_interface(self.wasm)
        self.plan = MeteringPlan.of(self.interface)
        self.metered = meter(self.wasm, self.interface, self.plan)
        #: How often the check was called, and what it answers.
        self.checks = 0
        #: By how much something was to grow, and its size.
        self.asked: list[tuple[int, int]] = []
        self.refill = 1 << 40
        self._store = wasmtime.Store()

    def run(self, name: str, *args: int, fuel: int | None = None) -> int:
        """Call an export with that much fuel, and return what is left of it."""
        module = wasmtime.Module(self._store.engine, self.metered)
        imports: list[wasmtime.Func | wasmtime.Global | wasmtime.Memory | wasmtime.Table] = []
        for wanted in module.imports:
            assert isinstance(wanted.type, wasmtime.FuncType)
            call = self._check if wanted.name == self.plan.check.name else lambda *args: None
            imports.append(wasmtime.Func(self._store, wanted.type, call))
        exports = wasmtime.Instance(self._store, module, imports).exports(self._store)
        left, function = exports[self.plan.fuel], exports[name]
        assert isinstance(left, wasmtime.Global)
        assert isinstance(function, wasmtime.Func)
        if fuel is not None:
            left.set_value(self._store, fuel)
        self.result = function(self._store, *args)
        return int(left.value(self._store))

    def _check(self, added: int, size: int) -> int:
        self.checks += 1
        if size == -1:
            return self.refill
        self.asked.append((added, size))
        return added


@pytest.fixture
def metered() -> Callable[[str], Metered]:
    return Metered
