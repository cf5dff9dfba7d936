"""Timers, from the loop's thread and from others."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

from anywasm.server.callouts import LoopTimers


def test_it_calls_once_on_the_loop_whoever_asked(looping: Any, kit: Any) -> None:
    timers = LoopTimers(looping.loop)
    box = kit.Mailbox()
    timers.call_later(0.01, lambda: box.put("other thread"))
    assert box.get() == "other thread"
    looping.do(lambda: timers.call_later(0.01, lambda: box.put("loop")))
    assert box.get() == "loop"
    assert box.threads == {looping.thread.name}
    looping.settle()
    assert box.empty


def test_sooner_ones_come_first(looping: Any, kit: Any) -> None:
    timers = LoopTimers(looping.loop)
    box = kit.Mailbox()

    def arm() -> None:
        for seconds in (0.06, 0.02, 0.04):
            timers.call_later(seconds, partial(box.put, seconds))

    looping.do(arm)
    assert [box.get() for _ in range(3)] == [0.02, 0.04, 0.06]


def test_cancelled_ones_do_not_call(looping: Any, kit: Any) -> None:
    timers = LoopTimers(looping.loop)
    box = kit.Mailbox()

    def both() -> Any:
        early = timers.call_later(0.0, lambda: box.put("early"))
        early.cancel()
        return timers.call_later(0.0, lambda: box.put("late"))

    late = looping.do(both)
    assert box.get() == "late"
    late.cancel()  # harmless now
    from_here = timers.call_later(0.02, lambda: box.put("never"))
    from_here.cancel()
    from_here.cancel()
    timers.call_later(0.05, lambda: box.put("last"))
    assert box.get() == "last"
    looping.settle()
    assert box.empty


def test_a_cancel_from_another_thread_holds_even_when_the_timer_is_due(
    looping: Any, kit: Any
) -> None:
    timers = LoopTimers(looping.loop)
    box = kit.Mailbox()
    busy, free = threading.Event(), threading.Event()

    def block() -> None:
        armed.append(timers.call_later(0.0, lambda: box.put("never")))
        busy.set()
        free.wait(kit.PATIENCE)

    armed: list[Any] = []
    looping.loop.call_soon_threadsafe(block)
    assert busy.wait(kit.PATIENCE)
    armed.append(timers.call_later(0.0, lambda: box.put("never")))
    for timer in armed:
        timer.cancel()
    free.set()
    looping.settle()
    assert box.empty


def test_after_the_loop_is_gone_nothing_happens() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    told: list[str] = []
    timer = LoopTimers(loop).call_later(0.0, lambda: told.append("never"))
    timer.cancel()
    assert told == []
