"""What the tests of the suite take. Plain pytest fixtures, known below an engine's node only.

Guests are written twice, as WebAssembly text and as the Python class that does the same on engines
without wasm.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.core.vm import VM
from anywasm.engines.null.library import NullGuest, register_guest, unregister_guest
from anywasm.testing.engines import guests
from anywasm.testing.engines.compliance import EngineCompliance
from anywasm.testing.engines.plugin import Compliance
from anywasm.testing.interpreter import run_python


@pytest.fixture
def compliance(request: pytest.FixtureRequest) -> type[EngineCompliance]:
    """What the engine's author wrote."""
    node = request.node.getparent(Compliance)
    assert isinstance(node, Compliance)
    return node.compliance


@pytest.fixture
def vm(compliance: type[EngineCompliance]) -> VM:
    """The shared VM of the engine."""
    return get_wasm_engine(compliance.engine)


@pytest.fixture(scope="session")
def assemble() -> Callable[[str], bytes]:
    """Turns WebAssembly text into a binary, without validating it."""
    return guests.assemble


@pytest.fixture
def wat(vm: VM) -> Callable[[str], Module]:
    """Compiles WebAssembly text on `vm`, for engines that run wasm."""
    return lambda text: vm.compile(guests.assemble(text))


@pytest.fixture
def guest(vm: VM) -> Iterator[Callable[[str, type[NullGuest]], Module]]:
    """Compiles a guest on `vm`: the text, or where there is no wasm the equal Python class."""
    names: list[str] = []

    def make(text: str, equal: type[NullGuest]) -> Module:
        if vm.capabilities.wasm:
            return vm.compile(guests.assemble(text))
        name = f"{equal.__module__}.{equal.__qualname__}"
        register_guest(name, equal, replace=True)
        names.append(name)
        return vm.compile(name.encode())

    yield make
    for name in names:
        unregister_guest(name)


@pytest.fixture(scope="session", name="run_python")
def _run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in a process of its own."""
    return run_python


@pytest.fixture(scope="session")
def resident() -> Callable[[], int]:
    """The memory that this process holds now, in bytes."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("only Linux tells how much memory a process holds now (/proc/self/statm)")
    page = os.sysconf("SC_PAGE_SIZE")
    return lambda: int(statm.read_text().split()[1]) * page
