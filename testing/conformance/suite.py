"""Finds scripts, and runs each in a process of its own."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from anywasm.core.errors import ConfigError
from anywasm.testing.conformance.converter import Converter
from anywasm.testing.conformance.result import Result, Status

#: The scripts of WebAssembly 2.0 that came with a proposal and stand among the others.
_PROPOSALS = {
    "bulk-memory": "bulk memory_copy memory_fill memory_init table_copy table_init",
    "reference-types": "ref_func ref_is_null ref_null table-sub table_fill table_get table_grow "
    "table_set table_size",
}
_PROPOSAL_OF = {stem: name for name, stems in _PROPOSALS.items() for stem in stems.split()}


@dataclass(frozen=True)
class Script:
    """One `.wast` file.

    Attributes:
        path: Where it is.
        name: Its path below the folder that was given.
    """

    path: Path
    name: str

    @property
    def proposal(self) -> str:
        """The proposal that it came with: its folder's name, or by its own; else `core`."""
        folder = Path(self.name).parent.name
        return folder or _PROPOSAL_OF.get(self.path.stem, "core")

    @cached_property
    def digest(self) -> str:
        """Tells this version of the script from others."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]


def find_scripts(folder: Path, globs: Sequence[str] = ()) -> list[Script]:
    """The scripts in and below a folder, of the names asked for, in order.

    Raises:
        ConfigError: When there is none.
    """
    found = [Script(path, path.relative_to(folder).as_posix()) for path in folder.rglob("*.wast")]
    chosen = [
        script
        for script in sorted(found, key=lambda script: script.name)
        if not globs or any(fnmatch(script.name, glob) for glob in globs)
    ]
    if not chosen:
        raise ConfigError(f"{folder} has no .wast files" + (" so named" if found else ""))
    return chosen


def run_script(
    script: Script, engine: str, converter: Converter, seconds: float = 60
) -> list[Result]:
    """Run a script on an engine, and survive whatever becomes of that.

    Args:
        script: The script.
        engine: The engine's name.
        converter: What reads it.
        seconds: How long it may take.

    Raises:
        ConversionError: When the converter cannot read the script.
    """
    with tempfile.TemporaryDirectory(prefix="anywasm-conformance-") as folder:
        converted = converter.convert(script.path, Path(folder))
        lines = [command["line"] for command in _tests(converted)]
        command = (
            *(sys.executable, "-m", "anywasm.testing.conformance.worker"),
            *(engine, converter.program, str(converted)),
        )
        end = ""
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=seconds, check=False
            )
            output, code = done.stdout, done.returncode
            if code:
                end = _died(code, done.stderr)
        except subprocess.TimeoutExpired as expired:
            output = _text(expired.stdout)
            end = f"took longer than {seconds:g} s"
        results = [Result.of(json.loads(line)) for line in output.splitlines() if line[:1] == "{"]
        return results + list(_lost(lines[len(results) :], end))


def _tests(converted: Path) -> Iterator[dict[str, Any]]:
    """The commands that are expected to have results."""
    for command in json.loads(converted.read_text())["commands"]:
        text = command.get("module_type") == "text" and "binary_filename" not in command
        if command["type"] != "register" and not text:
            yield command


def _lost(lines: Sequence[int], end: str) -> Iterator[Result]:
    for i, line in enumerate(lines):
        reason = f"the process {end}" if i == 0 else f"the process ended at line {lines[0]}"
        yield Result(line, "lost", Status.FAILED, reason, None if i == 0 else lines[0])


def _died(code: int, said: str) -> str:
    last = said.strip().splitlines()[-1:] or [""]
    if code < 0:
        return f"died of {signal.Signals(-code).name} {last[0]}".strip()
    return f"exited with {code}: {last[0]}"


def _text(output: bytes | str | None) -> str:
    # What a process printed before it took too long comes undecoded.
    if isinstance(output, bytes):
        whole, _, _ = output.decode(errors="replace").rpartition("\n")
        return whole
    return output or ""
