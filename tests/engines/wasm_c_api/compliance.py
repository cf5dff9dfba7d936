"""Judges whatever library the environment names; see `test_compliance.py`."""

from __future__ import annotations

import os

from anywasm.testing.engines import EngineCompliance

pytest_plugins = ["anywasm.testing.engines.plugin"]


class TestLibrary(EngineCompliance):
    engine = "wasmer" if "ANYWASM_LIBWASMER" in os.environ else "wasm_c_api"
    leak_rounds = 100_000
