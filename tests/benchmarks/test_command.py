"""The command as a whole: what it measures, writes and refuses. Never how fast anything is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

Bench = Callable[..., "subprocess.CompletedProcess[str]"]
Read = Callable[[Path], Any]


def cases(data: dict[str, Any], group: str) -> dict[str, set[str]]:
    """The subjects of each case of a group."""
    found: dict[str, set[str]] = {}
    for item in data["results"]:
        if item["group"] == group:
            found.setdefault(item["case"], set()).add(item["subject"])
    return found


def test_figures_progress_and_report(bench: Bench, read: Read, tmp_path: Path) -> None:
    target, report = tmp_path / "f.json", tmp_path / "new" / "report"
    parts = ("--only", "crossing", "--only", "abi")
    done = bench("--engine", "null", *parts, "--json", target, "--report", report)
    assert done.returncode == 0, done.stderr
    data = read(target)
    assert data["facts"]["mode"] == "quick"
    assert data["facts"]["python"].endswith(data["engines"]["null"])
    assert list(data["engines"]) == ["null"]
    assert data["failed"] == {}
    crossing = cases(data, "crossing")
    assert {
        "call empty",
        "call add_i32",
        "call add_i64",
        "call add_f64",
        "call swap, two results",
        "host call",
        "read 16 B",
        "write 65536 B",
    } <= set(crossing)
    assert all(subjects == {"null", "plain Python"} for subjects in crossing.values())
    assert set(cases(data, "abi")) == {
        "stream with one header added",
        "two functions and a state store",
    }
    assert {item["group"] for item in data["results"]} == {"crossing", "abi"}
    assert all(
        item["median"] >= item["best"] > 0 and item["iqr"] >= 0 and item["rounds"] >= 5
        for item in data["results"]
    )
    # Each benchmark is told as it begins, and the table goes elsewhere.
    steps = [line for line in done.stderr.splitlines() if line.startswith("[")]
    assert steps[0].startswith(f"[1/{len(steps)}] crossing: call[")
    assert steps[-1].startswith(f"[{len(steps)}/{len(steps)}] abi: ")
    assert "crossing: call empty\n" in done.stdout
    assert "[1/" not in done.stdout
    _check_report(report, data)


def _check_report(report: Path, data: dict[str, Any]) -> None:
    markdown, page = (report / "report.md").read_text(), (report / "report.html").read_text()
    for text in (markdown, page):
        for fact in (*data["facts"].values(), data["engines"]["null"]):
            assert fact in text
        assert all(item["case"] in text for item in data["results"])
    pictures = {path.name for path in report.glob("*.svg")}
    assert pictures == {"crossing-s.svg", "abi-s.svg"}
    for name in pictures:
        assert f"({name})" in markdown
        svg = (report / name).read_text()
        assert svg in page
        bars = ElementTree.fromstring(svg).findall("{http://www.w3.org/2000/svg}rect")
        group = name.partition("-")[0]
        assert len(bars) == 1 + sum(item["group"] == group for item in data["results"])
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_without_tools_http_is_measured_all_the_same(bench: Bench) -> None:
    done = bench("--engine", "null", "--only", "http", "--json", "-", PATH="")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    found = cases(data, "http")
    for case, subject in (
        ("direct response", "no engine"),
        ("one header filter", "null"),
        ("quickstart", "null"),
    ):
        measures = {name for name in found if name.startswith(case) and subject in found[name]}
        expected = {
            f"{case} (Python, 1 connection)",
            f"{case}: first 200",
            f"{case}: p50",
            f"{case}: p99",
        }
        if sys.platform == "linux":
            expected |= {f"{case}: CPU per request", f"{case}: peak memory"}
        assert measures == expected


def test_cold_start_and_scaling(bench: Bench) -> None:
    parts = ("--only", "cold", "--only", "scaling")
    done = bench("--engine", "null", *parts, "--json", "-")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    cold = cases(data, "cold")
    assert {"compile, 5 KB", "instantiate and close", "ABI start and end"} <= set(cold)
    assert {"fresh process: all of it", "fresh process: first stream"} <= set(cold)
    assert "body of 1048576 B read and written" in cases(data, "scaling")
    assert data["skipped"]["cold: load[null]"] == "the engine has no artifacts"


def test_engines_of_third_parties_take_part(bench: Bench, third_party: str) -> None:
    done = bench("--only", "abi", "--json", "-", PYTHONPATH=third_party)
    data = json.loads(done.stdout)
    assert data["engines"]["acme"] == "7.0"
    assert all({"acme", "null"} <= subjects for subjects in cases(data, "abi").values())
    # The other one of that distribution cannot do anything, which is told, and does no harm.
    assert done.returncode == 1
    assert set(data["failed"]) == {"abi: header_filter[broken]", "abi: quickstart[broken]"}
    assert all("this engine is broken" in error for error in data["failed"].values())
    assert "anywasm: abi: header_filter[broken] failed:" in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--engine", "wasmtiem"), "wasmtiem"),
        (("--only", "everything"), "everything"),
        (("--json", "missing/f.json"), "no such folder"),
        (("--json", "."), "is a directory"),
        (("--report", __file__), "is a file"),
        (("--wheels", "missing"), "does not exist"),
        (("--slow",), "--slow"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    bench: Bench, args: tuple[str, ...], words: str
) -> None:
    done = bench(*args)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
    assert "[1/" not in done.stderr


@pytest.mark.parametrize("package", ["pytest", "pytest_benchmark"])
def test_missing_packages_are_named(package: str) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; from anywasm.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "bench"],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    needs = f"anywasm: this command needs {package}, which is not installed: "
    assert done.stderr == needs + "pip install 'anywasm[bench]'\n"
