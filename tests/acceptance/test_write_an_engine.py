"""`docs/write-an-engine.md`, followed: what it shows is the example, and works step by step."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "engines" / "anywasm-pwasm"
#: A block that belongs to a file has the file's name after the language.
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown() -> list[tuple[str, str]]:
    """The names and texts of the blocks, in the page's order."""
    return BLOCK.findall((ROOT / "docs" / "write-an-engine.md").read_text())


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_the_page_shows_the_whole_example() -> None:
    files: dict[str, str] = {}
    for name, text in shown():
        files[name] = files.get(name, "") + text
    assert set(files) == {"pyproject.toml", "tests/test_compliance.py", "anywasm_pwasm.py"}
    for name, text in files.items():
        assert lines(text) == lines((EXAMPLE / name).read_text()), name


def test_it_can_be_followed_from_an_empty_folder(tmp_path: Path) -> None:
    if importlib.util.find_spec("pwasm") is None:
        pytest.skip("pwasm is not installed")
    (tmp_path / "tests").mkdir()
    # What `pip install -e` does, without a network.
    (tmp_path / "info.dist-info").mkdir()
    (tmp_path / "info.dist-info" / "METADATA").write_text("Name: anywasm-pwasm\nVersion: 1\n")
    (tmp_path / "info.dist-info" / "entry_points.txt").write_text(
        "[anywasm.engines]\npwasm = anywasm_pwasm:PwasmVM\n"
    )

    def judge(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
            env={**os.environ, "PYTHONPATH": ":".join([str(tmp_path), *filter(None, sys.path)])},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    blocks = shown()
    while blocks[0][0] != "anywasm_pwasm.py":
        name, text = blocks.pop(0)
        (tmp_path / name).write_text(text)
    done = judge()
    assert "engine 'pwasm' is not available" in done.stdout
    assert "No module named 'anywasm_pwasm' (remedy: pip install --upgrade" in done.stdout
    (tmp_path / "anywasm_pwasm.py").write_text("\n".join(text for _, text in blocks))
    # The whole suite runs on the example, which is the same.
    done = judge("-k", "identity or numbers or memory or deadlines")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
