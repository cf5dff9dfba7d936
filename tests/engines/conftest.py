"""One suite for every engine: tests ask for capabilities, never for an engine's name.

A test that takes `vm` runs once for each engine that fits its `capable` marks. Guests are written
twice, as WebAssembly text and as the Python class that does the same on engines without wasm.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
import wasmtime

from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.module import Module
from anywasm.core.registry import EngineStatus, engine_statuses, get_wasm_engine
from anywasm.core.vm import VM
from anywasm.engines.null.library import NullGuest, register_guest, unregister_guest

_FIELDS = {field.name for field in fields(Capabilities)}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "capable(**claims): run on the engines whose capabilities are these; `feature=` is one that"
        " must be claimed, `lacks=` one that must not",
    )


def _fits(status: EngineStatus, claims: dict[str, object]) -> bool:
    if status.vm is None:
        return True  # shown as skipped, with the reason
    capabilities = status.vm.capabilities
    for name, wanted in claims.items():
        if name == "feature":
            fits = Feature(str(wanted)) in capabilities.features
        elif name == "lacks":
            fits = Feature(str(wanted)) not in capabilities.features
        else:
            assert name in _FIELDS, f"no such capability: {name}"
            fits = getattr(capabilities, name) == wanted
        if not fits:
            return False
    return True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "vm" not in metafunc.fixturenames:
        return
    claims: dict[str, object] = {}
    for mark in metafunc.definition.iter_markers("capable"):
        claims |= mark.kwargs
    metafunc.parametrize(
        "vm",
        [
            pytest.param(
                status.name,
                marks=[pytest.mark.skip(reason=str(status.error))] if status.error else [],
            )
            for status in engine_statuses()
            if _fits(status, claims)
        ],
        indirect=True,
    )


@pytest.fixture
def vm(request: pytest.FixtureRequest) -> VM:
    """The shared VM of an engine."""
    return get_wasm_engine(request.param)


@cache
def _assemble(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


@pytest.fixture(scope="session")
def assemble() -> Callable[[str], bytes]:
    """Turns WebAssembly text into a binary, without validating it."""
    return _assemble


@pytest.fixture
def wat(vm: VM) -> Callable[[str], Module]:
    """Compiles WebAssembly text on `vm`, for engines that run wasm."""
    return lambda text: vm.compile(_assemble(text))


@pytest.fixture
def guest(vm: VM) -> Iterator[Callable[[str, type[NullGuest]], Module]]:
    """Compiles a guest on `vm`: the text, or where there is no wasm the equal Python class."""
    names: list[str] = []

    def make(text: str, equal: type[NullGuest]) -> Module:
        if vm.capabilities.wasm:
            return vm.compile(_assemble(text))
        name = f"{equal.__module__}.{equal.__qualname__}"
        register_guest(name, equal, replace=True)
        names.append(name)
        return vm.compile(name.encode())

    yield make
    for name in names:
        unregister_guest(name)


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in a process of its own, so that a crash is a result and not the end."""

    def run(source: str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", source, *args],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def resident() -> Callable[[], int]:
    """The memory that this process holds now, in bytes."""
    page = resource.getpagesize()
    return lambda: int(Path("/proc/self/statm").read_text().split()[1]) * page
