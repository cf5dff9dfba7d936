from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anywasm.core.errors import MemoryBoundsError
from anywasm.core.memory import PAGE_SIZE, Memory


class Plain(Memory):
    """A memory over one bytearray, whose growth moves it."""

    __slots__ = ("attached", "data")

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray(PAGE_SIZE)
        self.attached = 0

    def _attach(self) -> memoryview:
        self.attached += 1
        return memoryview(self.data)

    def _grow(self, pages: int) -> bool:
        if pages > 3:
            return False
        self.data = self.data + bytes(pages * PAGE_SIZE)
        self.invalidate()
        return True


ADDRESSES = st.integers(-70000, 140000) | st.integers()
SIZES = st.integers(-10, 200) | st.integers(-70000, 140000) | st.integers()


@given(ADDRESSES, SIZES)
def test_reads_are_inside_or_refused(ptr: int, size: int) -> None:
    memory = Plain()
    memory.data[:] = bytes(i % 251 for i in range(PAGE_SIZE))
    if 0 <= ptr <= ptr + size <= PAGE_SIZE:
        assert memory.read(ptr, size) == bytes(memory.data[ptr : ptr + size])
    else:
        with pytest.raises(MemoryBoundsError):
            memory.read(ptr, size)


@given(ADDRESSES, st.binary(max_size=64))
def test_writes_are_inside_or_refused(ptr: int, data: bytes) -> None:
    memory = Plain()
    expected = bytearray(PAGE_SIZE)
    if 0 <= ptr <= ptr + len(data) <= PAGE_SIZE:
        memory.write(ptr, data)
        expected[ptr : ptr + len(data)] = data
    else:
        with pytest.raises(MemoryBoundsError):
            memory.write(ptr, data)
    assert memory.data == expected


@given(ADDRESSES, st.sampled_from(["u8", "u16", "u32", "u64", "f32", "f64"]))
def test_numbers_are_inside_or_refused(ptr: int, kind: str) -> None:
    memory = Plain()
    width = int(kind[1:]) // 8
    write, read = getattr(memory, f"write_{kind}"), getattr(memory, f"read_{kind}")
    if 0 <= ptr <= PAGE_SIZE - width:
        write(ptr, 7)
        assert read(ptr) == 7
    else:
        with pytest.raises(MemoryBoundsError):
            read(ptr)
        with pytest.raises(MemoryBoundsError):
            write(ptr, 7)
        assert not any(memory.data)


def test_the_view_is_fetched_when_it_is_needed() -> None:
    memory = Plain()
    assert memory.attached == 0
    memory.read(0, 1)
    assert memory.attached == 1
    for _ in range(5):
        memory.read(0, PAGE_SIZE)
        memory.write_u32(0, 1)
    assert memory.attached == 1
    memory.invalidate()
    memory.read_u8(0)
    assert memory.attached == 2


def test_growth_is_seen_without_being_told() -> None:
    memory = Plain()
    memory.write(0, b"old")
    memory.data = memory.data + bytes(PAGE_SIZE)
    memory.write(PAGE_SIZE, b"new")
    assert memory.read(PAGE_SIZE, 3) == b"new"
    assert memory.size == 2 * PAGE_SIZE


def test_refused_growth_changes_nothing() -> None:
    memory = Plain()
    with pytest.raises(MemoryBoundsError, match="cannot grow from 1 by 4 pages"):
        memory.grow(4)
    assert memory.size == PAGE_SIZE
    assert memory.grow(3) == 1
    assert memory.size == 4 * PAGE_SIZE
