from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from wasmtime import _ffi

from anywasm.core.registry import engine_statuses

PAGE = Path(__file__).parents[2] / "docs" / "engines.md"
ERRORS = [
    str(status.error)
    for status in engine_statuses()
    if status.error and status.name != "wasm_c_api"
]


@pytest.mark.skipif(bool(ERRORS), reason="; ".join(ERRORS))
def test_the_table_says_what_the_engines_claim(tmp_path: Path) -> None:
    copy = tmp_path / "engines.md"
    copy.write_text(PAGE.read_text())
    subprocess.run(
        [sys.executable, "-m", "anywasm.testing.engine_table", str(copy)],
        check=True,
        timeout=60,
        env=os.environ | {"ANYWASM_WASM_C_API": str(_ffi.dll._name)},
    )
    assert copy.read_text() == PAGE.read_text(), (
        "run: ANYWASM_WASM_C_API=… python -m anywasm.testing.engine_table docs/engines.md"
    )
