from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from wasmtime import _ffi

from anywasm.core.registry import engine_statuses

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
RESULTS = PAGE.with_name("conformance.json")
ERRORS = [
    str(status.error)
    for status in engine_statuses()
    if status.error and status.name != "wasm_c_api"
]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    shutil.copy(RESULTS, tmp_path)
    return Path(shutil.copy(PAGE, tmp_path))


def fill_in(page: Path) -> str:
    subprocess.run(
        [sys.executable, "-m", "anywasm.testing.engine_table", str(page)],
        check=True,
        timeout=60,
        env=os.environ | {"ANYWASM_WASM_C_API": str(_ffi.dll._name)},
    )
    return page.read_text()


@pytest.mark.skipif(bool(ERRORS), reason="; ".join(ERRORS))
def test_the_table_says_what_the_engines_claim(page: Path) -> None:
    assert fill_in(page) == PAGE.read_text(), (
        "run: ANYWASM_WASM_C_API=… python -m anywasm.testing.engine_table docs/engines.md"
    )


@pytest.mark.skipif(bool(ERRORS), reason="; ".join(ERRORS))
def test_the_table_has_the_results_that_are_beside_it(page: Path) -> None:
    counts = {"passed": 7, "failed": 8, "unsupported": 9}
    results = {"wasm3": {"version": "0.5.0", "proposals": {"total": counts}}}
    page.with_name(RESULTS.name).write_text(json.dumps(results))
    row = "| WebAssembly 2.0's tests: passed / failed / unsupported | - | - | 7 / 8 / 9 | - | - |\n"
    assert row in fill_in(page)


def test_the_conformance_page_has_the_same_results() -> None:
    text = PAGE.with_name("conformance.md").read_text()
    results = json.loads(RESULTS.read_text())
    heads = " | ".join(f"{name} {result['version']}" for name, result in results.items())
    assert f"| passed / failed / unsupported | {heads} |\n" in text
    for proposal in results["wasmtime"]["proposals"]:
        cells = [result["proposals"][proposal].values() for result in results.values()]
        row = " | ".join(" / ".join(map(str, cell)) for cell in cells)
        assert f"| {proposal} | {row} |\n" in text
