"""Ticks: when they come, and when they do not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.core.errors import TrapError


class Timer:
    """A timer of `Clock`."""

    def __init__(self, seconds: float, callback: Callable[[], None]) -> None:
        self.seconds = seconds
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """`Timers` that go off when the test says so: no real clock has a tick come too late."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(seconds, callback))
        return self.timers[-1]

    @property
    def waiting(self) -> list[float]:
        return [timer.seconds for timer in self.timers if not timer.cancelled]

    def strike(self) -> None:
        """The timers that wait go off."""
        due = [timer for timer in self.timers if not timer.cancelled]
        self.timers.clear()
        for timer in due:
            timer.callback()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


def test_a_tick_comes_again_and_again(scripted: Callable[..., Any], clock: Clock) -> None:
    guest = scripted("configure proxy_set_tick_period_milliseconds 250", timers=clock)
    guest.start()
    for _ in range(3):
        assert clock.waiting == [0.25]
        clock.strike()
    assert guest.said() == ["tick 1"] * 3


@pytest.mark.parametrize(("period", "waiting"), [(0, []), (1, [0.001]), (2**32 - 1, [4294967.295])])
def test_a_tick_may_change_its_period(
    scripted: Callable[..., Any], clock: Clock, period: int, waiting: list[float]
) -> None:
    guest = scripted(
        "configure proxy_set_tick_period_milliseconds 250\n"
        f"tick proxy_set_tick_period_milliseconds {period}",
        timers=clock,
    )
    guest.start()
    clock.strike()
    assert clock.waiting == waiting
    assert guest.said() == ["tick 1", "proxy_set_tick_period_milliseconds = 0"]


def test_a_stream_sets_the_ticks_of_its_root(scripted: Callable[..., Any], clock: Clock) -> None:
    guest = scripted("context_create proxy_set_tick_period_milliseconds 5", timers=clock)
    guest.guest.create_stream(guest.start())
    assert clock.waiting == [0.005]
    clock.strike()
    assert guest.said()[-1] == "tick 1"


def test_a_tick_that_is_late_changes_nothing(scripted: Callable[..., Any], clock: Clock) -> None:
    guest = scripted("configure proxy_set_tick_period_milliseconds 250", timers=clock)
    guest.start()
    (late,) = clock.timers
    guest.guest.close()
    guest.said()
    assert late.cancelled
    late.callback()
    assert guest.said() == []
    assert clock.waiting == []


def test_ticks_end_with_their_root(scripted: Callable[..., Any], clock: Clock) -> None:
    guest = scripted("configure proxy_set_tick_period_milliseconds 250", timers=clock)
    root = guest.start()
    (late,) = clock.timers
    guest.guest.end(root)
    late.callback()
    assert guest.said() == ["done 1", "delete 1"]
    assert clock.waiting == []


def test_a_tick_that_traps_is_the_last(scripted: Callable[..., Any], clock: Clock) -> None:
    guest = scripted("configure proxy_set_tick_period_milliseconds 250\ntick x", timers=clock)
    guest.start()
    clock.strike()
    assert isinstance(guest.guest.failed, TrapError)
    assert clock.waiting == []
    assert any("the guest failed" in line for line in guest.said())


def test_a_failed_guest_does_not_tick(scripted: Callable[..., Any], clock: Clock) -> None:
    guest = scripted(
        "configure proxy_set_tick_period_milliseconds 250\ncontext_create x", timers=clock
    )
    root = guest.start()
    with pytest.raises(TrapError):
        guest.guest.create_stream(root)
    guest.said()
    clock.strike()
    assert guest.said() == []


def test_without_timers_only_stopping_works(scripted: Callable[..., Any]) -> None:
    guest = scripted(
        "configure proxy_set_tick_period_milliseconds 1\n"
        "configure proxy_set_tick_period_milliseconds 0"
    )
    guest.guest.create_root(guest.identity)
    assert guest.said()[-2:] == [f"proxy_set_tick_period_milliseconds = {code}" for code in (10, 0)]


def test_a_guest_that_does_not_export_it_may_still_ask(probing: Callable[..., Any]) -> None:
    clock = Clock()
    probe = probing(timers=clock)
    assert probe.tell("proxy_set_tick_period_milliseconds", 7) == 0
    clock.strike()
    assert probe.guest.failed is None


class Threads:
    """`Timers` of real threads, whose ticks the test takes one by one."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> threading.Timer:
        timer = threading.Timer(seconds, callback)
        timer.daemon = True
        timer.start()
        return timer


def test_a_real_timer_ticks(scripted: Callable[..., Any]) -> None:
    guest = scripted("configure proxy_set_tick_period_milliseconds 5", timers=Threads())
    jobs: list[Callable[[], None]] = []
    arrived = threading.Semaphore(0)

    def post(job: Callable[[], None]) -> None:
        jobs.append(job)
        arrived.release()

    guest.guest.poster = post
    guest.start()
    for _ in range(3):
        assert arrived.acquire(timeout=20)
        guest.guest.run_soon(jobs.pop())
    guest.guest.close()
    assert guest.said()[:3] == ["tick 1"] * 3
