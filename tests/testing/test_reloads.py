"""The short form of the reload experiment: every kind of change under load, on a real server."""

from __future__ import annotations

import pytest

from anywasm.testing.reloads import report, run


@pytest.mark.parametrize("workers", [1, 2])
def test_changes_under_load_lose_nothing_and_leave_nothing(workers: int) -> None:
    outcome = run(24, "wasmtime", connections=2, workers=workers)
    assert outcome.good, report(outcome)
    assert set(outcome.reloads) == {
        "configuration",
        "file",
        "install and uninstall",
        "module",
        "url",
    }
    assert outcome.requests > 100
