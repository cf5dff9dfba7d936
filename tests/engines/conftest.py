"""What the tests of single engines share; the suite for all engines brings its own fixtures."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
import wasmtime

from anywasm.testing.engines import guests
from anywasm.testing.interpreter import run_python


@pytest.fixture(scope="session")
def assemble() -> Callable[[str], bytes]:
    """Turns WebAssembly text into a binary, without validating it."""
    return lambda text: bytes(wasmtime.wat2wasm(text))


@pytest.fixture(scope="session", name="run_python")
def _run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in a process of its own, so that a crash is a result and not the end."""
    return run_python


@pytest.fixture(scope="session", autouse=True)
def stored_guests() -> Iterator[None]:
    """Others run the suite without an assembler: all its guests must be in the store."""
    yield
    if guests.missing and os.environ.get("ANYWASM_STORE_GUESTS"):
        guests.store_missing()
    elif guests.missing:
        pytest.fail(
            f"{len(guests.missing)} guests of the suite are not in {guests.STORE.name}; run "
            "`ANYWASM_STORE_GUESTS=1 make test ARGS=tests/engines` and commit the file"
        )
