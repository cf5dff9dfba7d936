from __future__ import annotations

import pytest

from anywasm.core.errors import ClosedError, DeadlineExceededError
from anywasm.core.gate import Deadline
from anywasm.core.metering import SLICE, UNBOUNDED, MeteredGate


@pytest.fixture
def fuel() -> list[int]:
    return []


@pytest.fixture
def gate(fuel: list[int]) -> MeteredGate:
    gate = MeteredGate("it")
    gate.set_fuel = fuel.append
    return gate


def test_fuel_is_rationed_under_a_deadline_only(gate: MeteredGate, fuel: list[int]) -> None:
    assert gate.refill() == UNBOUNDED
    with Deadline(gate, 60):
        assert fuel == [SLICE]
        assert gate.refill() == SLICE
        with Deadline(gate, 0):
            assert fuel == [SLICE]
            with pytest.raises(DeadlineExceededError, match="it has passed"):
                gate.refill()
        assert gate.refill() == SLICE
    assert gate.refill() == UNBOUNDED
    assert fuel == [SLICE]


def test_what_is_left_of_a_slice_serves_the_next_deadline(
    gate: MeteredGate, fuel: list[int]
) -> None:
    with Deadline(gate, 60):
        pass
    with Deadline(gate, 60):
        pass
    assert fuel == []  # a new guest has a slice
    assert gate.refill() == UNBOUNDED
    with Deadline(gate, 60):
        assert fuel == [SLICE]


def test_closed_instance_gets_no_fuel(gate: MeteredGate, fuel: list[int]) -> None:
    assert gate.refill() == UNBOUNDED
    late = Deadline(gate, 60)
    with Deadline(gate, 60), Deadline(gate, 30):
        gate.close()
    assert gate.expires is None
    with pytest.raises(ClosedError), late:
        pass
    assert fuel == [SLICE]
