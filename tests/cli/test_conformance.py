from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

GOOD = """(module (func (export "f") (param i32) (result i32) local.get 0))
(assert_return (invoke "f" (i32.const 7)) (i32.const 7))
"""
BAD = '(assert_return (invoke "f" (i32.const 7)) (i32.const 8))\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.wast").write_text(GOOD)
    return tmp_path


def test_table_and_files(run: Run, folder: Path) -> None:
    files = ("--json", folder / "out.json", "--markdown", folder / "out.md")
    result = run("conformance", folder, "--engine", "wasmtime", *files)
    assert (result.returncode, result.stderr) == (0, "")
    assert "2 / 0 / 0" in result.stdout
    assert result.stdout.endswith("all as expected\n")
    data = json.loads((folder / "out.json").read_text())
    assert data["as_expected"] is True
    total = data["engines"]["wasmtime"]["proposals"]["total"]
    assert total == {"passed": 2, "failed": 0, "unsupported": 0}
    assert "| total | 2 / 0 / 0 |" in (folder / "out.md").read_text()


def test_totals_are_put_beside_those_of_other_engines(run: Run, folder: Path) -> None:
    totals = folder / "totals.json"
    totals.write_text('{"acme": {"version": "1"}, "wasmtime": {"version": "1"}}')
    run("conformance", folder, "--engine", "wasmtime", "--totals", totals)
    data = json.loads(totals.read_text())
    assert list(data) == ["acme", "wasmtime"]
    assert data["acme"] == {"version": "1"}
    assert data["wasmtime"].keys() == {"version", "converter", "proposals"}
    assert data["wasmtime"]["version"] != "1"
    for wrong in ("[]", "{"):
        totals.write_text(wrong)
        result = run("conformance", folder, "--engine", "wasmtime", "--totals", totals)
        assert (result.returncode, result.stdout) == (2, "")
        assert f"{totals} holds no totals" in result.stderr
        assert totals.read_text() == wrong


def test_unexpected_failure_is_named_and_fails_the_run(run: Run, folder: Path) -> None:
    (folder / "bad.wast").write_text(GOOD + BAD)
    result = run("conformance", folder, "--engine", "wasmtime")
    assert result.returncode == 1
    assert "wasmtime: bad.wast:3: assert_return: unexpected failure: f: i32 0x7" in result.stdout
    data = json.loads(run("conformance", folder, "--engine", "wasmtime", "--json", "-").stdout)
    assert len(data["unexpected"]) == 1


@pytest.mark.parametrize("option", ["--json", "--markdown"])
def test_a_file_that_cannot_be_written_is_told_before_anything_runs(
    run: Run, folder: Path, option: str
) -> None:
    result = run("conformance", folder, "--engine", "wasmtime", option, folder / "no" / "out")
    assert (result.returncode, result.stdout) == (2, "")
    assert "no such folder" in " ".join(result.stderr.split())


def test_known_failure_does_not(run: Run, folder: Path) -> None:
    from anywasm.testing.conformance import find_scripts
    from anywasm.testing.conformance.known import listing

    (folder / "bad.wast").write_text(GOOD + BAD)
    script = find_scripts(folder, ["bad.wast"])[0]
    known = folder / "known.json"
    known.write_text(json.dumps(listing("wasmtime", "seven is not eight", [(script, 3)])))
    result = run("conformance", folder, "--engine", "wasmtime", "--known", known)
    assert (result.returncode, result.stderr) == (0, "")
    known.write_text(json.dumps(listing("wasmtime", "it is not", [(script, 2), (script, 3)])))
    result = run("conformance", folder, "--engine", "wasmtime", "--known", known)
    assert result.returncode == 1
    assert "bad.wast:2: assert_return: unexpectedly passed" in result.stdout


def test_unreadable_script_fails_the_run(run: Run, folder: Path) -> None:
    (folder / "odd.wast").write_text("(module (func nonsense))")
    result = run("conformance", folder, "--engine", "wasmtime")
    assert result.returncode == 1
    assert "odd.wast: wa" in result.stdout


def test_folder_without_scripts(run: Run, tmp_path: Path) -> None:
    result = run("conformance", tmp_path)
    assert result.returncode != 0
    assert "has no .wast files" in result.stderr
    assert "Traceback" not in result.stderr
