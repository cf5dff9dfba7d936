from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.errors import CompileError
from anywasm.core.registry import get_wasm_engine, known_engines
from anywasm.core.types import ExternKind
from anywasm.core.vm import ENGINE_API_VERSION, VM
from anywasm.testing.engines.compliance import EngineCompliance


def test_attributes(vm: VM, compliance: type[EngineCompliance]) -> None:
    assert vm.name == compliance.engine
    assert vm.engine_api_version == ENGINE_API_VERSION
    assert vm.version
    assert vm.artifact_version.startswith(vm.version)


def test_capabilities_are_of_their_types(vm: VM) -> None:
    capabilities = vm.capabilities
    assert isinstance(capabilities, Capabilities)
    assert {type(feature) for feature in capabilities.features} <= {Feature}
    assert {type(kind) for kind in capabilities.imports} <= {ExternKind}
    assert ExternKind.FUNCTION in capabilities.imports


def test_one_vm_is_shared(vm: VM) -> None:
    assert vm.name in known_engines()
    assert get_wasm_engine(vm.name) is vm


def test_another_process_finds_it_by_its_name(
    vm: VM, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    script = "import sys, anywasm; print(repr(anywasm.get_wasm_engine(sys.argv[1])))"
    done = run_python(script, vm.name)
    assert done.returncode == 0, f"{vm.name} must be installed, with an entry point: {done.stderr}"
    assert done.stdout.strip() == repr(vm)


@pytest.mark.capable(wasm=False)
def test_wasm_that_is_not_claimed_is_refused(vm: VM, assemble: Callable[[str], bytes]) -> None:
    with pytest.raises(CompileError, match="WebAssembly"):
        vm.compile(assemble("(module)"))
