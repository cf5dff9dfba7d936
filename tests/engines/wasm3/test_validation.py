"""wasm3 does not validate: wasmtime must, or the caller must take the risk in so many words."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

SCRIPT = """
import os, sys
sys.modules["wasmtime"] = None  # as if it were not installed
from anywasm.core import CompileError, UnsupportedError, get_wasm_engine

vm = get_wasm_engine("wasm3")
try:
    module = vm.compile(bytes.fromhex(sys.argv[1]))
except UnsupportedError as error:
    assert "pip install 'anywasm[wasm3]'" in str(error), error
    assert "ANYWASM_WASM3_UNVALIDATED" in str(error), error
    print("refused")
except CompileError as error:
    print("broken")
else:
    print(module.instantiate().exports["run"]())
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _run(run_python: Run, wasm: bytes, unvalidated: str) -> str:
    source = f"import os; os.environ['ANYWASM_WASM3_UNVALIDATED'] = {unvalidated!r}\n{SCRIPT}"
    done = run_python(source, wasm.hex())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_without_a_validator_nothing_is_run(
    run_python: Run, assemble: Callable[[str], bytes]
) -> None:
    wasm = assemble('(module (func (export "run") (result i32) i32.const 42))')
    for unvalidated in ("", "0", "true"):
        assert _run(run_python, wasm, unvalidated) == "refused"


def test_without_a_validator_modules_run_on_the_callers_word(
    run_python: Run, assemble: Callable[[str], bytes]
) -> None:
    wasm = assemble('(module (func (export "run") (result i32) i32.const 42))')
    assert _run(run_python, wasm, "1") == "42"
    # What wasm3 itself notices is still an error.
    unknown = wasm.replace(b"\x41\x2a\x0b", b"\x06\x40\x0b")
    assert unknown != wasm
    assert _run(run_python, unknown, "1") == "broken"
