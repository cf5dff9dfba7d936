"""What holds for every source file, and that no other tool checks."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Written in pieces, so that this file does not hold what it looks for.
MACHINE_PATHS = ["/" + folder + "/" for folder in ("work", "root", "tmp/v310")]

# import-linter forbids what it is told of; these may import nothing else at all.
EXTERNAL_IMPORTS = {"core": {"pluggy"}, "abi": {"pluggy"}, "sdk": set[str]()}


def imported_names(source: str) -> list[str]:
    """The top-level names of the absolute imports in a module, wherever they stand."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
    return [name.partition(".")[0] for name in names]


@pytest.fixture(scope="session")
def imports(root: Path, tracked: list[Path]) -> dict[Path, list[str]]:
    """The imported names of every tracked Python file."""
    files = [path for path in tracked if path.suffix == ".py"]
    return {path: imported_names((root / path).read_text()) for path in files}


def test_the_import_scan_sees_every_form() -> None:
    source = """
import core
import abi.codec as codec
def late():
    from engines.null import vm
    from . import server
"""
    assert imported_names(source) == ["core", "abi", "engines"]


def test_folders_are_imported_through_anywasm(
    imports: dict[Path, list[str]], packaged: list[str]
) -> None:
    """A bare `import core` works from the repository's root, and nowhere else."""
    bare = {path: set(names) & set(packaged) for path, names in imports.items()}
    assert {path: names for path, names in bare.items() if names} == {}


@pytest.mark.parametrize("folder", EXTERNAL_IMPORTS)
def test_lower_layers_need_only_the_standard_library(
    folder: str, imports: dict[Path, list[str]]
) -> None:
    allowed = sys.stdlib_module_names | {"anywasm"} | EXTERNAL_IMPORTS[folder]
    mine = {path: names for path, names in imports.items() if path.parts[0] == folder}
    assert mine, f"no tracked Python file in {folder}/"
    foreign = {path: set(names) - allowed for path, names in mine.items()}
    assert {path: names for path, names in foreign.items() if names} == {}


def test_no_file_names_a_place_on_one_machine(root: Path, tracked: list[Path]) -> None:
    """Built modules count: compilers like to leave the paths of their inputs behind."""
    found = [
        f"{path}: {needle}"
        for path in tracked
        if not (root / path).is_symlink()
        for needle in MACHINE_PATHS
        if needle.encode() in (root / path).read_bytes()
    ]
    assert found == []
