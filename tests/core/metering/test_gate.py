from __future__ import annotations

import pytest

from anywasm.core.binary import ModuleInterface
from anywasm.core.errors import ClosedError, DeadlineExceededError, InstantiationError
from anywasm.core.gate import Deadline
from anywasm.core.limits import MOST_TABLE_ELEMENTS, ResourceLimits
from anywasm.core.metering import SLICE, UNBOUNDED, MeteredGate
from anywasm.core.metering.gate import TABLE
from anywasm.core.types import Limits, MemoryType, TableType, ValueType


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


def test_growth_is_bounded(gate: MeteredGate) -> None:
    memory, table = MemoryType(Limits(1)), TableType(ValueType.FUNCREF, Limits(5))
    interface = ModuleInterface(memories=(memory,), tables=(table,))
    gate.admit(interface)
    assert gate.checked(0xFFFF, 1) == 0xFFFF
    assert 1 + gate.checked(0x10000, 1) > 0x10000
    assert 5 + gate.checked(MOST_TABLE_ELEMENTS - 4, 5 + TABLE) > MOST_TABLE_ELEMENTS
    gate.limit(ResourceLimits(memory_bytes=3 * 65536 + 1, table_elements=6))
    gate.admit(interface)
    assert gate.checked(2, 1) == 2
    assert 1 + gate.checked(3, 1) > 3
    assert gate.checked(1, 5 + TABLE) == 1
    assert 5 + gate.checked(2, 5 + TABLE) > MOST_TABLE_ELEMENTS
    assert gate.checked(-1, -1) == UNBOUNDED
    for limits in (ResourceLimits(memory_bytes=65535), ResourceLimits(table_elements=4)):
        gate.limit(limits)
        with pytest.raises(InstantiationError, match="exceeds the limit"):
            gate.admit(interface)
    with Deadline(gate, 0), pytest.raises(DeadlineExceededError):
        gate.checked(1, 1)


def test_closed_instance_gets_no_fuel(gate: MeteredGate, fuel: list[int]) -> None:
    assert gate.refill() == UNBOUNDED
    late = Deadline(gate, 60)
    with Deadline(gate, 60), Deadline(gate, 30):
        gate.close()
    assert gate.expires is None
    with pytest.raises(ClosedError), late:
        pass
    assert fuel == [SLICE]
