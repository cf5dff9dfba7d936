"""Any order of what happens to a filter's instances: each is closed once, and never in use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anywasm.core.errors import TrapError, TrapKind
from anywasm.plugins.errors import FilterFailedError, FilterStartingError, PoolClosedError
from anywasm.plugins.filter_pool import FilterPool
from anywasm.plugins.home import AnyThread
from anywasm.plugins.slot import Slot


class Guest:
    """As much of a guest as the pool looks at: faults come at any moment, and at no cost."""

    def __init__(self) -> None:
        self.failed: Exception | None = None
        self.failed_in = "proxy_on_request_headers"
        self.closed = 0
        self.callbacks = SimpleNamespace(request=(None,) * 3, response=(None,) * 3)
        self.call = self.create_stream = self.end = None

    def close(self) -> None:
        self.closed += 1


class FilterPools(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.made: list[Slot] = []
        self.streams: list[Slot] = []
        self.shut = False
        self.pool = FilterPool("f", self.make, 2)
        self.pool.start()

    def make(self) -> Slot:
        slot = Slot(cast(Any, Guest()), cast(Any, None), AnyThread())
        self.made.append(slot)
        return slot

    @rule()
    def bind(self) -> None:
        try:
            slot = self.pool.bind()
        except PoolClosedError:
            assert self.shut
        except (FilterFailedError, FilterStartingError):
            assert not self.shut
        else:
            assert slot is not None
            assert slot.guest.failed is None
            self.streams.append(slot)

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def unbind(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.streams) - 1))
        self.pool.unbind(self.streams.pop(index))

    @precondition(lambda self: self.streams)
    @rule(data=st.data())
    def trap(self, data: st.DataObject) -> None:
        cast(Any, data.draw(st.sampled_from(self.streams)).guest).failed = TrapError(
            TrapKind.UNREACHABLE
        )

    @rule(size=st.integers(1, 4))
    def resize(self, size: int) -> None:
        if not self.shut:
            self.pool.resize(size)
            assert self.pool.size == size

    @rule()
    def close(self) -> None:
        assert self.pool.close(0) is (not self.streams)
        self.shut = True

    @invariant()
    def an_instance_in_use_is_open(self) -> None:
        for slot in self.made:
            closed = cast(Any, slot.guest).closed
            assert closed <= 1
            assert slot.streams == self.streams.count(slot)
            assert not (closed and slot.streams)

    def teardown(self) -> None:
        self.pool.close(0)
        for slot in self.streams:
            self.pool.unbind(slot)
        assert [cast(Any, slot.guest).closed for slot in self.made] == [1] * len(self.made)


TestFilterPools = FilterPools.TestCase
TestFilterPools.settings = settings(max_examples=60, stateful_step_count=30)
