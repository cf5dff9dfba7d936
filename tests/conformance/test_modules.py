"""Published third-party modules, and the table about them in docs/conformance.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from anywasm.core.registry import get_wasm_engine
from anywasm.testing.golden import GuestFinder
from anywasm.testing.golden.modules import MODULES, ThirdPartyModule, Trial, markdown, try_module

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_every_module_serves(module: ThirdPartyModule, wheels: Path) -> None:
    """On one engine: the others run in `python -m anywasm.testing.golden.modules`."""
    trial = try_module(module, GuestFinder(wheels), get_wasm_engine("wasmtime"))
    assert trial.good, trial.outcome


def test_a_module_that_does_not_serve_is_told_so(tmp_path: Path) -> None:
    trial = try_module(MODULES[0], GuestFinder(tmp_path), get_wasm_engine("wasmtime"))
    assert not trial.good
    assert "not found" in trial.outcome


def test_the_document_has_the_table_as_it_is_generated() -> None:
    engines = ("wasmtime", "wasmer", "wasm3")
    rows = [(module, [Trial("serves", True, 1.0)] * len(engines)) for module in MODULES]
    text = DOCUMENT.read_text().splitlines()
    head, rule, *lines = markdown(engines, rows)
    start = text.index(head)
    assert text[start + 1] == rule
    written = text[start + 2 : start + 2 + len(lines)]
    # Times are those of one run; everything else is fixed.
    assert [line.split("|")[1:3] for line in written] == [line.split("|")[1:3] for line in lines]
    assert text[start + 2 + len(lines)] == ""
