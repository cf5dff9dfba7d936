"""The kernels as the machine's own code."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from anywasm.benchmarks.guests import WASM


def compiler() -> str | None:
    """The C compiler `cc`, or None."""
    return shutil.which("cc")


def build_kernels(compiler: str, folder: Path) -> Callable[[str], Callable[[int], int]]:
    """Compile `kernels.c`; gives its functions by name.

    Raises:
        CalledProcessError: When the compiler fails.
    """
    library = folder / "kernels.so"
    source = WASM / "kernels.c"
    command = [compiler, "-std=c11", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    functions = ctypes.CDLL(str(library))

    def find(name: str) -> Callable[[int], int]:
        function = functions[name]
        function.argtypes, function.restype = [ctypes.c_uint32], ctypes.c_uint32
        return function

    return find
