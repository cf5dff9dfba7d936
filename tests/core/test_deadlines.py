from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from anywasm.core import deadlines
from anywasm.core.deadlines import Ticker


def _wait(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def _thread(name: str) -> threading.Thread | None:
    return next((item for item in threading.enumerate() if item.name == name), None)


def test_no_thread_before_it_is_needed() -> None:
    ticker = Ticker("unused", lambda: None)
    assert _thread("unused") is None
    ticker.close()
    ticker.close()


def test_it_ticks_while_armed_and_ends_on_close() -> None:
    ticks: list[float] = []
    ticker = Ticker("ticking", lambda: ticks.append(time.monotonic()))
    ticker.arm(time.monotonic() + 60)
    _wait(lambda: len(ticks) >= 3)
    thread = _thread("ticking")
    assert thread is not None
    assert thread.daemon
    ticker.close()
    assert not thread.is_alive()
    count = len(ticks)
    time.sleep(3 * deadlines.TICK)
    assert len(ticks) == count


def test_it_sleeps_when_idle_and_wakes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "IDLE", 0.02)
    ticks: list[int] = []
    ticker = Ticker("idle", lambda: ticks.append(1))
    ticker.arm(time.monotonic() + 0.01)
    thread = _thread("idle")
    _wait(lambda: not ticker._ticking)
    count = len(ticks)
    assert count
    time.sleep(5 * deadlines.TICK)
    assert len(ticks) == count
    ticker.arm(time.monotonic() + 60)
    _wait(lambda: len(ticks) > count)
    assert _thread("idle") is thread
    ticker.close()
    assert _thread("idle") is None


def test_close_while_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "IDLE", 0.0)
    ticker = Ticker("asleep", lambda: None)
    ticker.arm(time.monotonic())
    _wait(lambda: not ticker._ticking)
    ticker.close()
    assert _thread("asleep") is None


def test_closed_ticker_is_not_armed_again() -> None:
    ticks: list[int] = []
    ticker = Ticker("closed", lambda: ticks.append(1))
    ticker.close()
    ticker.arm(time.monotonic() + 60)
    assert _thread("closed") is None
    assert not ticks


def test_a_shorter_deadline_does_not_shorten_a_longer_one() -> None:
    ticks: list[int] = []
    ticker = Ticker("longer", lambda: ticks.append(1))
    ticker.arm(time.monotonic() + 60)
    ticker.arm(time.monotonic() - 60)
    count = len(ticks)
    _wait(lambda: len(ticks) > count + 2)
    ticker.close()


def test_many_threads_arm_one_thread() -> None:
    ticker = Ticker("shared", lambda: None)
    threads = [threading.Thread(target=ticker.arm, args=(time.monotonic() + 60,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(item.name == "shared" for item in threading.enumerate()) == 1
    ticker.close()


def test_closing_from_the_tick_does_not_wait_for_itself() -> None:
    closed = threading.Event()

    def tick() -> None:
        ticker.close()
        closed.set()

    ticker = Ticker("own", tick)
    ticker.arm(time.monotonic() + 60)
    assert closed.wait(60)
    _wait(lambda: _thread("own") is None)
