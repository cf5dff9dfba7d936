from __future__ import annotations

import re
from pathlib import Path

import pytest

import anywasm.engines
from anywasm.core.capabilities import Capabilities
from anywasm.core.registry import BUILT_IN, EngineStatus, engine_statuses
from anywasm.core.types import REFERENCES

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
#: What engines have besides whose instances can share a store, those that pass references, and
#: those that can suspend guests.
LINKING = {"store.py", "tables.py"}
REFERRING = {"references.py"}
SUSPENDING = {"promises.py"}
ROOT = Path(anywasm.engines.__path__[0])


def shapes(capabilities: Capabilities | None) -> list[set[str]]:
    """The files that a folder may have; what an engine that is not here claims, nobody knows."""
    return [
        FILES
        | (LINKING if linking else set())
        | (REFERRING if referring else set())
        | (SUSPENDING if suspending else set())
        for linking in (True, False)
        for referring in (True, False)
        for suspending in (True, False)
        if capabilities is None
        or (linking, referring, suspending)
        == (
            capabilities.linking,
            not REFERENCES.isdisjoint(capabilities.values),
            capabilities.suspend,
        )
    ]


@pytest.mark.parametrize("name", BUILT_IN)
def test_folders_of_engines_that_can_the_same_are_alike(name: str) -> None:
    """Who has read one engine knows where to look in the others."""
    status = next(item for item in engine_statuses() if item.name == name)
    files = {path.name for path in (ROOT / name).glob("*.py")}
    assert files in shapes(None if status.vm is None else status.vm.capabilities)
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
