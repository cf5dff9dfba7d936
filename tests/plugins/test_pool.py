"""Leases: who gets which instance, and what becomes of broken and surplus ones."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anywasm.core.errors import AnyWasmError, TrapError, TrapKind
from anywasm.plugins.errors import FunctionBusyError, PoolClosedError
from anywasm.plugins.failures import Circuit
from anywasm.plugins.home import AnyThread
from anywasm.plugins.pool import InstancePool
from anywasm.plugins.slot import Slot

Later = Callable[..., Any]
SOON = 0.05


class FakeGuest:
    """All that a pool wants of a guest: whether it failed, its end, and names."""

    def __init__(self) -> None:
        self.failed: BaseException | None = None
        self.failed_in: str | None = None
        self.closed = 0
        self.callbacks = SimpleNamespace(request=(None,) * 3, response=(None,) * 3)
        self.call = self.create_stream = self.end = None

    def close(self) -> None:
        self.closed += 1

    def fail(self) -> None:
        self.failed = TrapError(TrapKind.UNREACHABLE)


class Maker:
    """Makes slots, or fails as often as it is told."""

    def __init__(self) -> None:
        self.made: list[Any] = []
        self.failing = 0

    def __call__(self) -> Slot:
        if self.failing:
            self.failing -= 1
            raise AnyWasmError("it does not start")
        guest: Any = FakeGuest()
        root: Any = None
        slot = Slot(guest, root, AnyThread())
        self.made.append(slot)
        return slot

    @property
    def open(self) -> int:
        return sum(not slot.guest.closed for slot in self.made)


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def pools(maker: Maker) -> Iterator[Callable[[int], InstancePool]]:
    """Starts pools, and holds each to its word at the end: all is closed, once."""
    made: list[InstancePool] = []

    def start(size: int, circuit: Circuit | None = None, on_demand: bool = False) -> InstancePool:
        made.append(InstancePool("p", maker, size, circuit, on_demand=on_demand))
        made[-1].start()
        return made[-1]

    yield start
    for pool in made:
        pool.close(5.0)
    assert [slot.guest.closed for slot in maker.made] == [1] * len(maker.made)


def soon(seconds: float = SOON) -> float:
    return time.monotonic() + seconds


def until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def test_the_instance_used_last_is_leased_first(pools: Any) -> None:
    pool = pools(3)
    slots = [pool.acquire(soon()) for _ in range(3)]
    for slot in slots:
        pool.release(slot)
    assert [pool.acquire(soon()) for _ in range(3)] == slots[::-1]
    for slot in slots:
        pool.release(slot)


def test_nobody_waits_past_the_deadline(pools: Any) -> None:
    pool = pools(1)
    slot = pool.acquire(soon())
    assert pool.try_acquire() is None
    with pytest.raises(FunctionBusyError, match=r"raise instance_num \(now 1\)") as caught:
        pool.acquire(soon())
    assert (caught.value.plugin, caught.value.phase) == ("p", "lease")
    with pytest.raises(FunctionBusyError):
        pool.acquire(time.monotonic() - 9)
    pool.release(slot)
    assert pool.acquire(time.monotonic() - 9) is slot
    pool.release(slot)


def test_time_in_which_the_process_stood_still_is_given_back(pools: Any, later: Later) -> None:
    pool = pools(1)
    slot = pool.acquire(soon())
    waiting = later(pool.acquire, soon(0.6))
    until(lambda: len(pool._queue) == 1)
    ctypes.PyDLL(None).usleep(1_500_000)  # with Python's lock held
    time.sleep(0.05)  # it wakes up, and waits again
    pool.release(slot)
    assert waiting.result(20) is slot
    pool.release(slot)


def test_who_waits_longest_is_served_first(pools: Any, later: Later) -> None:
    pool = pools(1)
    slot = pool.acquire(soon())
    order: list[int] = []

    def wait(number: int) -> None:
        leased = pool.acquire(soon(20))
        order.append(number)
        pool.release(leased)

    waiting = []
    for number in range(4):
        waiting.append(later(wait, number))
        until(lambda: len(pool._queue) == len(waiting))
    pool.release(slot)
    assert [future.result(20) for future in waiting] == [None] * 4
    assert order == [0, 1, 2, 3]


def test_a_resumed_stream_comes_before_new_ones(pools: Any, later: Later) -> None:
    pool = pools(1)
    slot = pool.acquire(soon())
    pool.release(slot, done=False)
    assert pool.acquire(soon()) is slot
    order: list[str] = []

    def new() -> None:
        leased = pool.acquire(soon(20))
        order.append("new")
        pool.release(leased)

    def resumed() -> None:
        pool.reacquire(slot, soon(20))
        order.append("resumed")
        pool.release(slot)

    first = later(new)
    until(lambda: bool(pool._queue))
    second = later(resumed)
    until(lambda: bool(slot.wanted))
    pool.release(slot)
    first.result(20), second.result(20)
    assert order == ["resumed", "new"]
    assert slot.streams == 0


def test_a_stream_that_cannot_have_its_instance_back_is_given_up(pools: Any) -> None:
    pool = pools(1)
    slot = pool.acquire(soon())
    pool.release(slot, done=False)
    assert pool.acquire(soon()) is slot
    assert slot.streams == 2
    with pytest.raises(FunctionBusyError):
        pool.reacquire(slot, soon())
    assert (slot.streams, slot.wanted) == (1, 0)
    pool.release(slot)


def test_a_broken_instance_is_replaced(pools: Any, maker: Maker) -> None:
    pool = pools(2)
    slot = pool.acquire(soon())
    slot.guest.fail()
    pool.release(slot)
    until(lambda: pool.idle == 2)
    assert (pool.replaced, slot.guest.closed, maker.open) == (1, 1, 2)
    assert slot not in pool.slots


def test_a_replacement_is_tried_until_it_works(pools: Any, maker: Maker) -> None:
    pool = pools(1, Circuit(backoff=(0.001, 0.002)))
    maker.failing = 4
    slot = pool.acquire(soon())
    slot.guest.fail()
    pool.release(slot)
    again = pool.acquire(soon(20))
    assert again is not slot
    assert maker.failing == 0
    pool.release(again)


def test_a_closed_pool_stops_trying(pools: Any, maker: Maker) -> None:
    pool = pools(1)
    maker.failing = 1000
    slot = pool.acquire(soon())
    slot.guest.fail()
    pool.release(slot)
    until(lambda: maker.failing < 1000)
    assert pool.close(0.0)
    until(lambda: not any(t.name == "anywasm-refill-p" for t in threading.enumerate()))
    assert maker.failing > 990


def test_a_broken_instance_is_closed_by_its_last_stream(pools: Any, maker: Maker) -> None:
    pool = pools(1)
    slot = pool.acquire(soon())
    pool.release(slot, done=False)
    assert pool.acquire(soon()) is slot
    slot.guest.fail()
    pool.release(slot)
    until(lambda: pool.idle == 1)
    assert slot.guest.closed == 0
    pool.reacquire(slot, soon())
    pool.release(slot)
    assert slot.guest.closed == 1
    assert maker.open == 1


def test_two_last_streams_close_a_broken_instance_once(pools: Any, later: Later) -> None:
    pool = pools(1)
    for _ in range(20):
        slots = []
        for _ in range(4):
            slots.append(pool.acquire(soon(20)))
            pool.release(slots[-1], done=False)
        slot = slots[0]
        pool.reacquire(slot, soon())
        slot.guest.fail()
        pool.release(slot, done=False)
        ready = threading.Barrier(4)

        def end(slot: Slot = slot, ready: threading.Barrier = ready) -> None:
            pool.reacquire(slot, soon(20))
            ready.wait()
            pool.release(slot)

        for future in [later(end) for _ in range(4)]:
            future.result(20)
        assert slot.guest.closed == 1
        until(lambda: pool.idle == 1)


def test_a_pool_that_cannot_start_leaves_nothing(maker: Maker) -> None:
    pool = InstancePool("p", _third_fails(maker), 5)
    with pytest.raises(AnyWasmError, match="does not start"):
        pool.start()
    assert len(maker.made) == 2
    assert maker.open == 0


def _third_fails(maker: Maker) -> Callable[[], Slot]:
    def make() -> Slot:
        maker.failing = int(len(maker.made) == 2)
        return maker()

    return make


def test_growing_and_shrinking(pools: Any, maker: Maker) -> None:
    pool = pools(1)
    pool.resize(4)
    assert (pool.size, pool.idle, maker.open) == (4, 4, 4)
    leased = pool.acquire(soon())
    pool.resize(1)
    assert (pool.size, pool.idle, maker.open) == (1, 0, 1)
    pool.release(leased)
    assert pool.idle == 1


def test_instances_on_demand_come_when_none_is_free(pools: Any, maker: Maker) -> None:
    pool = pools(3, on_demand=True)
    assert (pool.size, maker.open) == (3, 1)
    for _ in range(5):
        pool.release(pool.acquire(soon()))
    assert maker.open == 1
    leased = [pool.acquire(soon(20)) for _ in range(3)]
    assert maker.open == 3
    with pytest.raises(FunctionBusyError):
        pool.acquire(soon())
    assert maker.open == 3
    for slot in leased:
        pool.release(slot)
    assert pool.idle == 3


def test_an_instance_on_demand_that_cannot_be_made_is_tried_again(pools: Any, maker: Maker) -> None:
    pool = pools(2, Circuit(backoff=(SOON, SOON)), on_demand=True)
    leased = pool.acquire(soon())
    maker.failing = 2
    other = pool.acquire(soon(20))
    assert (maker.failing, maker.open) == (0, 2)
    leased.guest.fail()
    pool.release(leased)
    until(lambda: pool.idle == 1)
    pool.resize(1)
    pool.release(other)
    assert (pool.size, pool.idle) == (1, 1)


def test_a_surplus_instance_goes_when_its_lease_ends(pools: Any, maker: Maker) -> None:
    pool = pools(2)
    leased = [pool.acquire(soon()) for _ in range(2)]
    pool.resize(1)
    assert maker.open == 2
    pool.release(leased[0])
    assert (maker.open, pool.idle) == (1, 0)
    pool.release(leased[1])
    assert (maker.open, pool.idle) == (1, 1)


def test_shrinking_takes_no_instance_from_under_a_paused_stream(pools: Any, maker: Maker) -> None:
    pool = pools(2)
    leased = [pool.acquire(soon()) for _ in range(2)]
    for slot in leased:
        pool.release(slot, done=False)
    pool.resize(1)
    assert maker.open == 2
    pool.reacquire(leased[0], soon())
    pool.release(leased[0])
    assert (maker.open, leased[0].guest.closed) == (1, 1)
    pool.reacquire(leased[1], soon())
    pool.release(leased[1])
    assert pool.idle == 1


def test_a_growth_that_fails_changes_nothing(pools: Any, maker: Maker) -> None:
    pool = pools(1)
    maker.failing = 1
    with pytest.raises(AnyWasmError, match="does not start"):
        pool.resize(3)
    assert (pool.size, maker.open) == (1, 1)


def test_a_closed_pool_leases_nothing_new(pools: Any, later: Later) -> None:
    pool = pools(1)
    slot = pool.acquire(soon())
    waiting = later(pool.acquire, soon(20))
    until(lambda: bool(pool._queue))
    assert pool.close(0.0) is False
    with pytest.raises(PoolClosedError):
        waiting.result(20)
    with pytest.raises(PoolClosedError):
        pool.try_acquire()
    with pytest.raises(PoolClosedError):
        pool.acquire(soon())
    assert slot.guest.closed == 0
    pool.release(slot)
    assert slot.guest.closed == 1


def test_draining_waits_for_paused_streams_which_may_finish(pools: Any, later: Later) -> None:
    pool = pools(2)
    slot = pool.acquire(soon())
    pool.release(slot, done=False)
    closing = later(pool.close, 20.0)
    until(lambda: pool._closed)
    pool.reacquire(slot, soon())
    pool.release(slot, done=False)
    pool.reacquire(slot, soon())
    pool.release(slot)
    assert closing.result(20) is True
    assert slot.guest.closed == 1


class Leasing(RuleBasedStateMachine):
    """Whatever happens in whatever order, instances are leased to one, counted, and closed once."""

    def __init__(self) -> None:
        super().__init__()
        self.maker = Maker()
        self.pool = InstancePool("p", self.maker, 2)
        self.pool.start()
        self.running: list[Slot] = []
        self.paused: list[Slot] = []

    @rule()
    def acquire(self) -> None:
        slot = self.pool.try_acquire()
        if slot is not None:
            assert slot not in self.running
            self.running.append(slot)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), pause=st.booleans(), fail=st.booleans())
    def release(self, data: st.DataObject, pause: bool, fail: bool) -> None:
        slot = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        if fail:
            slot.guest.fail()  # type: ignore[attr-defined]
        elif pause:
            self.paused.append(slot)
        self.pool.release(slot, done=fail or not pause)
        if fail:
            until(lambda: len(self.pool.slots) >= self.pool.size)

    @precondition(lambda self: any(slot not in self.running for slot in self.paused))
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from([s for s in self.paused if s not in self.running]))
        self.pool.reacquire(slot, soon(5))
        self.paused.remove(slot)
        self.running.append(slot)

    @rule(size=st.integers(1, 4))
    def resize(self, size: int) -> None:
        self.pool.resize(size)

    @invariant()
    def streams_are_counted(self) -> None:
        for slot in self.maker.made:
            assert slot.streams == self.running.count(slot) + self.paused.count(slot)

    @invariant()
    def nothing_in_use_is_closed(self) -> None:
        assert not any(slot.guest.closed for slot in (*self.running, *self.paused))
        assert all(slot.guest.closed <= 1 for slot in self.maker.made)

    @invariant()
    def there_are_as_many_as_there_should_be(self) -> None:
        assert len(self.pool.slots) >= self.pool.size
        known = {*self.pool.slots, *self.running, *self.paused}
        assert self.maker.open == len(known)

    def teardown(self) -> None:
        for slot in self.running:
            self.pool.release(slot)
        for slot in self.paused:
            self.pool.reacquire(slot, soon(5))
            self.pool.release(slot)
        assert self.pool.close(5.0)
        assert all(slot.guest.closed == 1 for slot in self.maker.made)


TestLeasing = Leasing.TestCase
TestLeasing.settings = settings(max_examples=60, stateful_step_count=30)
