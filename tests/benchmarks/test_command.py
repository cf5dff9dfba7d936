"""The command as a whole: what it measures, writes and refuses. Never how fast anything is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from anywasm.benchmarks.result import show

Bench = Callable[..., "subprocess.CompletedProcess[str]"]
Read = Callable[[Path], Any]
_OF_LINUX = ("CPU per request", "idle memory", "peak memory")


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
    pictures = {path.stem for path in report.glob("*.svg")}
    assert pictures == {path.stem for path in report.glob("*.png")}
    assert {"crossing-time", "abi-time"} <= pictures
    shown: dict[str, set[str]] = {"crossing": set(), "abi": set()}
    for name in pictures:
        assert f"({name}.svg)" in markdown
        assert (report / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        svg = (report / f"{name}.svg").read_text()
        assert svg[svg.index("<svg") :] in page
        texts = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
        shown[name.partition("-")[0]] |= {"".join(text.itertext()) for text in texts}
    for item in data["results"]:
        assert {item["case"], item["subject"], show(item["median"], "s")} <= shown[item["group"]]
    # It stands alone: nothing is loaded from elsewhere.
    assert not re.search(r"(?:src|href)=[\"']?http", page.replace("xlink:href", ""))


def test_without_tools_http_is_measured_all_the_same(bench: Bench) -> None:
    done = bench("--engine", "null", "--only", "http", "--json", "-", PATH="")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    found = cases(data, "http")
    for case, subject in (
        ("direct response", "no engine"),
        ("C header filter", "null"),
        ("proxied", "no engine"),
        ("proxied, C header filter", "null"),
        ("quickstart", "null"),
        ("quickstart with Valkey", "null"),
    ):
        measures = {
            name
            for name in found
            if name.startswith((f"{case}:", f"{case} (")) and subject in found[name]
        }
        expected = {
            f"{case} (Python, 1 connection)",
            f"{case}: first 200",
            f"{case}: p50",
            f"{case}: p99",
        }
        if sys.platform == "linux":
            expected |= {f"{case}: {what}" for what in _OF_LINUX}
        assert measures == expected


def test_cold_start_and_scaling(bench: Bench) -> None:
    parts = ("--only", "cold", "--only", "scaling")
    done = bench("--engine", "null", *parts, "--json", "-")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    cold = cases(data, "cold")
    assert {"compile, 5 KB", "instantiate and close", "ABI start and end"} <= set(cold)
    assert {"fresh process: all of it", "fresh process: first stream"} <= set(cold)
    assert {"body of 1048576 B read and written", "1 worker (Python, 1 connection)"} <= {
        case.replace("wrk, 8 connections", "Python, 1 connection")
        for case in cases(data, "scaling")
    }
    assert data["skipped"]["cold: load[null]"] == "the engine has no artifacts"


def test_engines_of_third_parties_take_part(bench: Bench, third_party: str) -> None:
    done = bench("--only", "abi", "--json", "-", PYTHONPATH=third_party)
    data = json.loads(done.stdout)
    assert data["engines"]["acme"] == "7.0"
    assert all({"acme", "null"} <= subjects for subjects in cases(data, "abi").values())
    # The other one of that distribution cannot do anything, which is told, and does no harm.
    assert done.returncode == 1
    assert {"abi: header_filter[broken]", "abi: quickstart[broken]"} <= set(data["failed"])
    assert all("[broken]" in name for name in data["failed"])
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
