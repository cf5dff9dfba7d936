from __future__ import annotations

import pytest

from anywasm.core.registry import BUILT_IN, engine_statuses
from anywasm.testing.engines import EngineCompliance

pytest_plugins = ["anywasm.testing.engines.plugin"]

ERRORS = {status.name: str(status.error) for status in engine_statuses() if status.error}


class TestWasmtime(EngineCompliance):
    engine = "wasmtime"


@pytest.mark.skipif("wasmer" in ERRORS, reason=ERRORS.get("wasmer", ""))
class TestWasmer(EngineCompliance):
    engine = "wasmer"


@pytest.mark.skipif("wasm3" in ERRORS, reason=ERRORS.get("wasm3", ""))
class TestWasm3(EngineCompliance):
    engine = "wasm3"


class TestNull(EngineCompliance):
    engine = "null"


def test_every_engine_of_the_package_is_tested() -> None:
    tested = {TestWasmtime, TestWasmer, TestWasm3, TestNull}
    named_by_environment = {"wasm_c_api"}  # tested in its folder
    assert {compliance.engine for compliance in tested} | named_by_environment == set(BUILT_IN)
