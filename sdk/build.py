"""Builds guests from C and C++ with the compiler that pip installs as `ziglang`.

`python -m anywasm.sdk.build FILE` builds one file, without arguments all guests of the project.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from anywasm.core.errors import AnyWasmError
from anywasm.sdk.guests import header_path

_log = logging.getLogger(__name__)

_STRIP = "-Wl,--strip-all"
#: What every guest is compiled and linked with, after the compiler's name. The features are those
#: that all built-in engines run: wasm3 has neither reference types nor passive data.
COMPILER_FLAGS = (
    "--target=wasm32-freestanding",
    "-mcpu=mvp+bulk_memory+bulk_memory_opt+sign_ext",
    "-ffreestanding",
    "-Oz",
    "-Wall",
    "-Wextra",
    "-nostdlib",
    "-Wl,--no-entry",
    _STRIP,
    # The stack comes first in memory, so that running over it traps. Zig's default is 1 MiB.
    "-Wl,-z,stack-size=16384",
)
_C = ("cc", "-std=c11")
# Without a C++ runtime there are no exceptions, no RTTI, and no exit for destructors to run at.
_CPP = ("c++", "-std=c++17", "-fno-exceptions", "-fno-rtti", "-fno-c++-static-destructors")
_LANGUAGES = {".c": _C, ".cc": _CPP, ".cpp": _CPP, ".cxx": _CPP}


class ToolchainError(AnyWasmError):
    """The compiler is not installed; the message has the pip command."""


class BuildError(AnyWasmError):
    """A guest could not be built.

    Attributes:
        source: The file that was to be built.
        diagnostics: What the compiler said; empty where it did not get to run.
    """

    def __init__(self, source: Path, reason: str, diagnostics: str = "") -> None:
        self.source = source
        self.diagnostics = diagnostics
        super().__init__(f"cannot build {source}: {reason}" + (diagnostics and f"\n{diagnostics}"))


def build_guest(source: Path, output: Path | None = None, *, debug: bool = False) -> Path:
    """Compiles one C or C++ file to a WebAssembly module for proxy-wasm hosts.

    The bytes depend on the source, the headers and the version of `ziglang` only, not on folders or
    earlier builds. The module appears at once, so a host that watches the file sees no half of it.
    Warnings of the compiler are logged.

    Args:
        source: The file, `.c`, `.cc`, `.cpp` or `.cxx`; `proxywasm.h` is on its include path.
        output: Where the module goes; by default beside the source, with the suffix `.wasm`.
        debug: Whether the module keeps names and lines of the source, for backtraces; its bytes
            then depend on the source's folder, too.

    Returns:
        The path of the module.

    Raises:
        BuildError: The source is missing or of another kind, or the compiler refused it, or the
            output cannot be written.
        ToolchainError: `ziglang` is not installed.
    """
    language = _LANGUAGES.get(source.suffix)
    if language is None:
        raise BuildError(source, f"the suffix must be one of {', '.join(_LANGUAGES)}")
    if not source.is_file():
        raise BuildError(source, "there is no such file")
    if importlib.util.find_spec("ziglang") is None:
        raise ToolchainError(
            "building guests needs the ziglang compiler: pip install 'anywasm[dev]'"
        )
    output = source.with_suffix(".wasm") if output is None else output
    with tempfile.TemporaryDirectory(prefix="anywasm-build-") as scratch:
        module = _compile(source, language, Path(scratch), debug)
    _write(source, output, module)
    return output


def _compile(source: Path, language: Sequence[str], scratch: Path, debug: bool) -> bytes:
    module = scratch / "guest.wasm"
    caches = {"ZIG_GLOBAL_CACHE_DIR": str(scratch), "ZIG_LOCAL_CACHE_DIR": str(scratch)}
    command = [sys.executable, "-m", "ziglang", *language, *COMPILER_FLAGS]
    if debug:
        command.remove(_STRIP)
        command.append("-g")
    # Absolute paths, since a relative one may begin with a dash.
    command += [f"-I{header_path().parent}", "-o", str(module), str(source.absolute())]
    run = subprocess.run(
        command,
        env=os.environ | caches,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if run.returncode != 0:
        raise BuildError(source, f"the compiler failed ({run.returncode})", run.stderr.strip())
    if run.stderr.strip():
        _log.warning("%s", run.stderr.strip())
    return module.read_bytes()


def _write(source: Path, output: Path, module: bytes) -> None:
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(module)
        partial.replace(output)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BuildError(source, f"{output} cannot be written: {error.strerror}") from error


def build_all() -> tuple[Path, ...]:
    """Builds every guest of the project anew, each to where `guest_path` finds it.

    Raises:
        BuildError: A guest could not be built, or the installation is not writable.
        ToolchainError: `ziglang` is not installed.
    """
    folder = header_path().parent
    modules = folder.parent / "wasm"
    return tuple(
        build_guest(source, modules / f"{source.stem}.wasm")
        for source in sorted((folder / "examples").glob("*.c"))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m anywasm.sdk.build", description=__doc__)
    parser.add_argument("source", nargs="?", type=Path, help="C or C++ file; default: all guests")
    parser.add_argument("-o", "--output", type=Path, help="module; default: beside the source")
    parser.add_argument("-g", "--debug", action="store_true", help="keep lines for backtraces")
    options = parser.parse_args(arguments)
    if options.output and not options.source:
        parser.error("--output needs a source")
    logging.basicConfig(format="%(message)s")
    try:
        if options.source:
            built: tuple[Path, ...] = (
                build_guest(options.source, options.output, debug=options.debug),
            )
        else:
            built = build_all()
    except AnyWasmError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for path in built:
        sys.stdout.write(f"{path} ({path.stat().st_size} bytes)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
