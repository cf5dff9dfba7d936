"""Rebuilds the modules of `wasm/`: `python -m anywasm.benchmarks.build`.

C needs `ziglang`, text needs `wasmtime`. Both write the same bytes each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from anywasm.benchmarks.guests import WASM
from anywasm.sdk.build import build_guest


def build_all(folder: Path = WASM) -> tuple[Path, ...]:
    """Build every source of `wasm/` into `folder`.

    Raises:
        BuildError: A source could not be built, or `folder` not be written.
        ToolchainError: `ziglang` is not installed.
    """
    from wasmtime import wat2wasm

    built = [
        build_guest(source, folder / f"{source.stem}.wasm") for source in sorted(WASM.glob("*.c"))
    ]
    for source in sorted(WASM.glob("*.wat")):
        module = folder / f"{source.stem}.wasm"
        module.write_bytes(wat2wasm(source.read_text()))
        built.append(module)
    return tuple(built)


if __name__ == "__main__":
    for path in build_all():
        sys.stdout.write(f"{path} ({path.stat().st_size} bytes)\n")
