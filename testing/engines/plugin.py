"""The pytest plugin that puts the suite in the place of each subclass of `EngineCompliance`.

A subclass becomes a node of its own with one node for each topic of the suite, so that a test is
`test_file.py::TestAcme::memory::test_outside[...]`. Fixtures of the suite exist below that node
only, where they take nothing from the tests around them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import pytest

from anywasm.core import (
    Capabilities,
    EngineNotFoundError,
    EngineUnavailableError,
    Feature,
    get_wasm_engine,
)
from anywasm.core.types import ExternKind, ValueType
from anywasm.testing.engines.compliance import SUITE, EngineCompliance

_FIELDS = {field.name for field in fields(Capabilities)}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark that says which engines a test is for."""
    config.addinivalue_line(
        "markers",
        "capable(**claims): run on engines whose capabilities are these; `feature=`, `imports=` "
        "and `values=` name one that must be claimed, `lacks=` a feature that must not",
    )


def pytest_pycollect_makeitem(
    collector: pytest.Module | pytest.Class, name: str, obj: object
) -> pytest.Collector | None:
    """Collect the suite for a subclass of `EngineCompliance`, whatever its name."""
    if not (inspect.isclass(obj) and issubclass(obj, EngineCompliance)):
        return None
    if obj is EngineCompliance:
        return _Nothing.from_parent(collector, name=name)
    return Compliance.from_parent(collector, name=name, compliance=obj)


class _Nothing(pytest.Collector):
    """In the place of the base class, which a test file imports."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        return ()


class _Imported(pytest.Module):
    """A module that was imported, under any node; pytest's own imports the file that it names."""

    def __init__(self, *, module: ModuleType, **node: Any) -> None:
        node["path"] = Path(inspect.getfile(module))
        # Without it, the file of the suite would name the tests, for all engines alike.
        node["nodeid"] = f"{node['parent'].nodeid}::{node['name']}"
        super().__init__(**node)
        self._module = module

    def _getobj(self) -> ModuleType:
        return self._module


class Compliance(_Imported):
    """The suite for one engine; as a module, it is the one with the fixtures."""

    def __init__(self, *, compliance: type[EngineCompliance], **node: Any) -> None:
        super().__init__(module=import_module("anywasm.testing.engines.fixtures"), **node)
        self.compliance = compliance
        marks = getattr(compliance, "pytestmark", ())
        self.own_markers.extend(marks if isinstance(marks, (list, tuple)) else (marks.mark,))

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """One node for each topic; one failing test where there is no such engine."""
        yield from super().collect()  # the fixtures; there are no tests among them
        try:
            vm = get_wasm_engine(self.compliance.engine)
        except (AttributeError, EngineNotFoundError, EngineUnavailableError) as error:
            yield _Absent.from_parent(self, name="available", error=error)
            return
        suite = import_module(SUITE)
        for found in iter_modules(suite.__path__):
            module = import_module(f"{SUITE}.{found.name}")
            yield Topic.from_parent(
                self, name=found.name, module=module, capabilities=vm.capabilities
            )


class _Absent(pytest.Item):
    """Fails because the engine cannot be had."""

    def __init__(self, *, error: Exception, **node: Any) -> None:
        super().__init__(**node)
        self._error = error

    def runtest(self) -> None:
        pytest.fail(f"{self._error}", pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name  # a skip must have a line


class Topic(_Imported):
    """The tests of one module of the suite that concern the engine."""

    def __init__(self, *, capabilities: Capabilities, **node: Any) -> None:
        super().__init__(**node)
        self._capabilities = capabilities

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """The tests whose `capable` marks fit."""
        for item in super().collect():
            claims: dict[str, object] = {}
            for mark in item.iter_markers("capable"):
                claims = {**mark.kwargs, **claims}  # from the test outwards: the innermost wins
            if _fits(self._capabilities, claims):
                yield item


def _fits(capabilities: Capabilities, claims: dict[str, object]) -> bool:
    for name, wanted in claims.items():
        if name == "feature":
            fits = Feature(str(wanted)) in capabilities.features
        elif name == "lacks":
            fits = Feature(str(wanted)) not in capabilities.features
        elif name == "imports":
            fits = ExternKind(str(wanted)) in capabilities.imports
        elif name == "values":
            fits = ValueType(str(wanted)) in capabilities.values
        else:
            assert name in _FIELDS, f"no such capability: {name}"
            fits = getattr(capabilities, name) == wanted
        if not fits:
            return False
    return True
