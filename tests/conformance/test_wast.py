"""The project's own scripts, on every engine here."""

from __future__ import annotations

from pathlib import Path

import pytest

from anywasm.core.registry import get_wasm_engine
from anywasm.core.types import REFERENCES
from anywasm.testing.conformance import Script, Status, find_converter, find_scripts, run_script

SCRIPTS = find_scripts(Path(__file__).parents[1] / "data" / "wast")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script(script: Script, engine: str) -> None:
    capabilities = get_wasm_engine(engine).capabilities
    lacking = {
        "sharing.wast": not capabilities.linking,
        "ref_values.wast": not capabilities.values >= REFERENCES,
        "simd/vectors.wast": "v128" not in capabilities.values,
    }
    results = run_script(script, engine, find_converter())
    wanted = {Status.PASSED, *([Status.UNSUPPORTED] if lacking.get(script.name) else [])}
    assert [str(result) for result in results if result.status not in wanted] == []
    # What the engine lacks shows, and what it has is not taken for it.
    assert {result.status for result in results} >= wanted - {Status.PASSED}
    assert len(results) > 4
