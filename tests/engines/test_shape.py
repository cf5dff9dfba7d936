from __future__ import annotations

import re
from pathlib import Path

import pytest

import anywasm.engines
from anywasm.core.registry import BUILT_IN, EngineStatus, engine_statuses

FILES = {
    "__init__.py",
    "calls.py",
    "errors.py",
    "globals.py",
    "instance.py",
    "library.py",
    "memory.py",
    "module.py",
    "vm.py",
}
#: What only engines have whose instances can share a store, and those with references.
LINKING = {"store.py", "tables.py"}
REFERENCES = {"references.py"}
ROOT = Path(anywasm.engines.__path__[0])


@pytest.mark.parametrize("name", BUILT_IN)
def test_folders_are_alike(name: str) -> None:
    files = {path.name for path in (ROOT / name).glob("*.py")}
    assert files - LINKING - REFERENCES == FILES
    assert files & LINKING in (set(), LINKING)
    assert "def map_exceptions(" in (ROOT / name / "errors.py").read_text()
    path, _ = BUILT_IN[name]
    vm_class = path.partition(":")[2]
    assert f'__all__ = ["{vm_class}"]' in (ROOT / name / "__init__.py").read_text()


def test_folders_and_registry_agree() -> None:
    folders = {path.parent.name for path in ROOT.glob("*/vm.py")}
    assert folders == set(BUILT_IN)


def test_unavailable_engine_says_why_and_what_to_do() -> None:
    statuses: list[EngineStatus] = [item for item in engine_statuses() if item.error is not None]
    for status in statuses:
        assert status.error is not None
        assert status.error.reason
        assert re.search("pip install|set ANYWASM_", status.error.remedy)
