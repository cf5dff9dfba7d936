from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.engines.wasm3 import Wasm3VM

pytest.importorskip("wasm3")


@pytest.fixture
def wasm3() -> Wasm3VM:
    """The shared VM."""
    vm = get_wasm_engine("wasm3")
    assert isinstance(vm, Wasm3VM)
    return vm


@pytest.fixture
def compiled(wasm3: Wasm3VM, assemble: Callable[[str], bytes]) -> Callable[[str], Module]:
    """Compiles the fields of a module, as text."""
    return lambda fields: wasm3.compile(assemble(f"(module {fields})"))


@pytest.fixture
def start(compiled: Callable[[str], Module]) -> Callable[..., Instance]:
    """Compiles and instantiates."""

    def make(fields: str, imports: dict[str, dict[str, Any]] | None = None) -> Instance:
        return compiled(fields).instantiate(imports)

    return make
