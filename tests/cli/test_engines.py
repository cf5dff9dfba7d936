from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable

import pytest

from anywasm.core.registry import engine_statuses

Run = Callable[..., "subprocess.CompletedProcess[str]"]
STATUSES = engine_statuses()


@pytest.mark.parametrize("columns", [40, 200])
def test_a_pipe_gets_a_whole_line_per_engine(run: Run, columns: int) -> None:
    result = run("engines", columns=columns)
    lines = result.stdout.splitlines()
    assert result.returncode == 0
    assert len(lines) == len(STATUSES)
    for line, status in zip(lines, STATUSES):
        assert line.startswith(status.name)
        if status.vm is None:
            assert status.error is not None
            assert "not available" in line
            assert status.error.remedy in line
        else:
            assert f"{status.name} {status.vm.version} (built-in): available" in line
            assert all(str(feature) in line for feature in status.vm.capabilities.features)
            assert ("interrupt" in line) == status.vm.capabilities.interrupt


def test_a_terminal_gets_a_table_with_nothing_cut_off(in_terminal: Callable[..., str]) -> None:
    shown = re.sub(r"\x1b\[[0-9;]*m", "", in_terminal("engines", columns=80))
    assert shown.split()[:3] == ["NAME", "VERSION", "ORIGIN"]
    assert "…" not in shown
    words = set(re.split(r"[\s,]+", shown))
    for status in STATUSES:
        assert status.name in words
        if status.vm is not None:
            assert {status.vm.version, *map(str, status.vm.capabilities.features)} <= words
        else:
            assert status.error is not None
            assert set(re.split(r"[\s,]+", status.error.remedy)) <= words


def test_json_says_what_the_registry_says(run: Run) -> None:
    data = json.loads(run("engines", "--json", columns=40).stdout)
    assert [item["name"] for item in data] == [status.name for status in STATUSES]
    for item, status in zip(data, STATUSES):
        assert item["available"] == (status.vm is not None)
        if status.vm is not None:
            assert item["version"] == status.vm.version
            assert item["capabilities"]["interrupt"] == status.vm.capabilities.interrupt
            assert set(item["capabilities"]["features"]) == set(status.vm.capabilities.features)


def test_an_engine_without_its_binding_says_why_and_what_helps(run: Run) -> None:
    line = next(
        line
        for line in run("engines", without=("wasmtime",)).stdout.splitlines()
        if line.startswith("wasmtime")
    )
    assert "not available: ModuleNotFoundError: No module named 'wasmtime'" in line
    assert line.endswith("; remedy: pip install 'anywasm[wasmtime]'")
    data = json.loads(run("engines", "--json", without=("wasmtime",)).stdout)
    entry = next(item for item in data if item["name"] == "wasmtime")
    assert entry["available"] is False
    assert entry["remedy"] == "pip install 'anywasm[wasmtime]'"
