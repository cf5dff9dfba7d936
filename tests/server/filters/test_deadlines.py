"""Each is late once, after its time, and in turn; and not if it was done before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anywasm.server.filters.deadlines import Deadlines


class Clock:
    """A loop whose time a test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> object:
        self.timers.append((when, callback))
        return callback

    def move(self, seconds: float) -> None:
        self.now += seconds
        due = [callback for when, callback in self.timers if when <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for callback in due:
            callback()


class Noted:
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def late(self) -> None:
        self.notes.append(self.name)


def begin() -> tuple[Any, Deadlines, list[str], list[Noted]]:
    clock: Any = Clock()
    notes: list[str] = []
    return clock, Deadlines(clock, 10.0), notes, [Noted(name, notes) for name in "abcd"]


def test_who_is_not_done_in_time_is_late() -> None:
    clock, deadlines, notes, (first, second, third, fourth) = begin()
    deadlines.add(first)
    deadlines.add(second)
    clock.move(4)
    deadlines.add(third)
    deadlines.discard(first)
    deadlines.discard(first)
    clock.move(5)
    assert notes == []
    clock.move(1)
    assert notes == ["b"]
    clock.move(3)
    assert notes == ["b"]
    clock.move(2)
    assert notes == ["b", "c"]
    assert clock.timers == []
    deadlines.add(fourth)
    deadlines.discard(fourth)
    clock.move(20)
    assert (notes, clock.timers) == (["b", "c"], [])


def test_there_is_one_timer_for_all() -> None:
    clock, deadlines, notes, items = begin()
    for item in items:
        deadlines.add(item)
        clock.move(1)
        assert len(clock.timers) == 1
        deadlines.discard(item)
    clock.move(20)
    assert (notes, clock.timers) == ([], [])


def test_being_late_may_end_others_and_begin_more() -> None:
    clock, deadlines, notes, (_, second, third, _) = begin()

    class Ending(Noted):
        def late(self) -> None:
            super().late()
            deadlines.discard(second)
            deadlines.add(third)

    deadlines.add(Ending("a", notes))
    deadlines.add(second)
    clock.move(11)
    assert notes == ["a"]
    clock.move(10)
    assert notes == ["a", "c"]
