"""The suite's guests in the binary format, so that it needs no assembler where it runs.

The tests hold their guests as text, which is what a reader wants; `guests.zip` holds what wasmtime
makes of each, under the hash of the text.
"""

from __future__ import annotations

import hashlib
import zipfile
from functools import cache
from importlib import import_module
from pathlib import Path

STORE = Path(__file__).with_name("guests.zip")

#: What this process assembled because the store lacks it: texts' hashes and binaries.
missing: dict[str, bytes] = {}


@cache
def assemble(text: str) -> bytes:
    """The binary of a module in the WebAssembly text format, not validated.

    Raises:
        ImportError: For a text that the store does not hold, where wasmtime is not installed.
    """
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    if key in _stored():
        return _stored()[key]
    try:
        wasmtime = import_module("wasmtime")
    except ImportError as error:
        raise ImportError(
            f"the suite has no binary of this guest; wasmtime would assemble it "
            f"(pip install 'anywasm[wasmtime]'): {text[:200]}"
        ) from error
    missing[key] = bytes(wasmtime.wat2wasm(text))
    return missing[key]


@cache
def _stored() -> dict[str, bytes]:
    if not STORE.exists():
        return {}
    with zipfile.ZipFile(STORE) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def store_missing() -> None:
    """Add to the store what it lacks; the same guests make the same file."""
    guests = sorted((_stored() | missing).items())
    with zipfile.ZipFile(STORE, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, wasm in guests:
            archive.writestr(zipfile.ZipInfo(name), wasm, zipfile.ZIP_DEFLATED)
