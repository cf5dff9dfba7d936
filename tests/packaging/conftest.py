"""What the packaging tests share: the repository's root and the files that git tracks in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """The tracked files and links that are there, relative to the root."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        pytest.skip("needs git and a clone: what belongs to the project is what git tracks")
    # A checkout that belongs to somebody else is usual in CI containers.
    command = [git, "-c", "safe.directory=*", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    paths = [Path(name) for name in listing.split("\0") if name]
    return [path for path in paths if (root / path).exists()]


@pytest.fixture(scope="session")
def packaged(root: Path) -> list[str]:
    """The top-level folders that are packages of anywasm, through the links under src/anywasm."""
    links = [path for path in (root / "src" / "anywasm").iterdir() if path.is_symlink()]
    return sorted(str(path.resolve().relative_to(root)) for path in links)
