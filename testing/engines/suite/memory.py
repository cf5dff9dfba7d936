from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator

import pytest

from anywasm.core.errors import ArgumentError, InstantiationError, MemoryBoundsError
from anywasm.core.limits import ResourceLimits
from anywasm.core.memory import Memory
from anywasm.core.module import Module
from anywasm.engines.null.library import NullGuest, export

Guest = Callable[[str, type[NullGuest]], Module]
PAGE = 65536

WAT = """(module
  (memory (export "memory") 1 5)
  (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
  (func (export "load") (param i32) (result i32) local.get 0 i32.load)
  (func (export "store") (param i32 i32) local.get 0 local.get 1 i32.store))
"""


class Pages(NullGuest):
    memory_maximum = 5

    @export("i32 -> i32")
    def grow(self, pages: int) -> int:
        return self.memory.grow(pages)

    @export("i32 -> i32")
    def load(self, ptr: int) -> int:
        return self.memory.read_u32(ptr)

    @export("i32 i32 ->")
    def store(self, ptr: int, value: int) -> None:
        self.memory.write_u32(ptr, value)


@pytest.fixture
def module(guest: Guest) -> Module:
    return guest(WAT, Pages)


@pytest.fixture
def memory(module: Module) -> Iterator[Memory]:
    with module.instantiate() as instance:
        assert instance.memory is not None
        yield instance.memory


@pytest.mark.parametrize(
    ("ptr", "size"),
    [(0, 0), (0, 1), (0, PAGE), (PAGE, 0), (PAGE - 1, 1), (PAGE - 1, 0), (123, 456)],
)
def test_inside(memory: Memory, ptr: int, size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    memory.write(ptr, data)
    assert memory.read(ptr, size) == data


@pytest.mark.parametrize(
    ("ptr", "size"),
    [
        (PAGE, 1),
        (PAGE + 1, 0),
        (PAGE - 1, 2),
        (0, PAGE + 1),
        (-1, 1),
        (-1, 0),
        (-PAGE, 1),
        (-1, 2),
        (0, -1),
        (10, -5),
        (PAGE + 10, -20),
        (2**32, 0),
        (2**32 - 1, 1),
        (2**64, 1),
        (0, 2**64),
        (2**31, 2**31),
    ],
)
def test_outside(memory: Memory, ptr: int, size: int) -> None:
    with pytest.raises(MemoryBoundsError, match=f"memory of {PAGE} bytes"):
        memory.read(ptr, size)
    if 0 <= size <= PAGE + 1:
        with pytest.raises(MemoryBoundsError, match=f"memory of {PAGE} bytes"):
            memory.write(ptr, b"x" * size)
    assert memory.read(0, PAGE) == bytes(PAGE)


NUMBERS = [
    ("u8", 1, 0xFE),
    ("u16", 2, 0xFEDC),
    ("u32", 4, 0xFEDCBA98),
    ("u64", 8, 0xFEDCBA9876543210),
    ("f32", 4, 1.5),
    ("f64", 8, math.pi),
]


@pytest.mark.parametrize(("kind", "width", "value"), NUMBERS)
def test_numbers_are_little_endian_and_bounded(
    memory: Memory, kind: str, width: int, value: float
) -> None:
    read, write = getattr(memory, f"read_{kind}"), getattr(memory, f"write_{kind}")
    letter = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "f32": "f", "f64": "d"}[kind]
    for ptr in (0, 3, PAGE - width):
        write(ptr, value)
        assert read(ptr) == value
        assert memory.read(ptr, width) == struct.pack(f"<{letter}", value)
    memory.write(PAGE - width, bytes(width))
    for ptr in (-1, PAGE - width + 1, PAGE, 2**32, -PAGE):
        with pytest.raises(MemoryBoundsError):
            read(ptr)
        with pytest.raises(MemoryBoundsError):
            write(ptr, value)
    assert read(PAGE - width) == 0


@pytest.mark.parametrize(("kind", "width", "value"), NUMBERS)
def test_number_that_does_not_fit_is_refused(
    memory: Memory, kind: str, width: int, value: float
) -> None:
    write = getattr(memory, f"write_{kind}")
    wrong: list[object] = ["1", None]
    if kind.startswith("u"):
        wrong += [-1, 1 << (8 * width), 1.5]
    for item in wrong:
        with pytest.raises(ArgumentError):
            write(0, item)
    assert memory.read(0, 8) == bytes(8)


@pytest.mark.parametrize("data", [bytearray(b"abc"), memoryview(b"abc"), b"abc"])
def test_any_bytes_can_be_written(memory: Memory, data: bytes) -> None:
    memory.write(7, data)
    assert memory.read(7, 3) == b"abc"


@pytest.mark.parametrize("data", ["text", [1, 2], (1,)])
def test_what_is_not_bytes_cannot_be_written(memory: Memory, data: bytes) -> None:
    with pytest.raises(ArgumentError):
        memory.write(0, data)
    assert memory.read(0, 4) == bytes(4)


@pytest.mark.parametrize(("ptr", "size"), [("0", 1), (0, "1"), (None, 1), (0.0, 1), (0, 1.0)])
def test_addresses_are_ints(memory: Memory, ptr: int, size: int) -> None:
    with pytest.raises((ArgumentError, TypeError)):
        memory.read(ptr, size)


def test_read_is_a_copy(memory: Memory) -> None:
    data = memory.read(0, 4)
    memory.write(0, b"abcd")
    assert data == bytes(4)


def test_guest_and_host_see_the_same_bytes(module: Module) -> None:
    with module.instantiate() as instance:
        memory = instance.memory
        assert memory is not None
        memory.write_u32(100, 0x12345678)
        assert instance.exports["load"](100) == 0x12345678
        instance.exports["store"](104, -2)
        assert memory.read_u32(104) == 2**32 - 2


def test_growth_by_the_guest_is_seen_at_once(module: Module) -> None:
    with module.instantiate() as instance:
        memory = instance.memory
        assert memory is not None
        memory.write(PAGE - 4, b"last")
        assert instance.exports["grow"](2) == 1
        memory.write(3 * PAGE - 4, b"here")
        assert memory.read(3 * PAGE - 4, 4) == b"here"
        assert memory.read(PAGE - 4, 4) == b"last"
        assert memory.size == 3 * PAGE
        instance.exports["store"](PAGE, 77)
        assert memory.read_u32(PAGE) == 77


def test_growth_by_the_host_is_seen_by_the_guest(module: Module) -> None:
    with module.instantiate() as instance:
        memory = instance.memory
        assert memory is not None
        assert memory.grow(0) == 1
        assert memory.grow(2) == 1
        assert memory.size == 3 * PAGE
        instance.exports["store"](3 * PAGE - 4, 9)
        assert memory.read_u32(3 * PAGE - 4) == 9
        assert instance.exports["grow"](0) == 3


def test_growth_past_the_maximum_is_refused(module: Module) -> None:
    with module.instantiate() as instance:
        memory = instance.memory
        assert memory is not None
        for pages in (5, 65536, 2**32, 2**64):
            with pytest.raises(MemoryBoundsError, match=f"cannot grow from 1 by {pages} pages"):
                memory.grow(pages)
        assert instance.exports["grow"](5) == 2**32 - 1
        assert memory.size == PAGE
        assert memory.grow(4) == 1
        assert memory.size == 5 * PAGE


@pytest.mark.parametrize("pages", [-1, 1.0, "1", None])
def test_growth_by_what_is_no_count(memory: Memory, pages: int) -> None:
    with pytest.raises(ArgumentError):
        memory.grow(pages)
    assert memory.size == PAGE


def test_instances_have_memories_of_their_own(module: Module) -> None:
    with module.instantiate() as first, module.instantiate() as second:
        assert first.memory is not None
        assert second.memory is not None
        first.memory.write(0, b"first")
        first.memory.grow(1)
        assert second.memory.read(0, 5) == bytes(5)
        assert second.memory.size == PAGE


def test_export_is_the_memory(module: Module) -> None:
    with module.instantiate() as instance:
        assert instance.exports["memory"] is instance.memory


class Named(NullGuest):
    memory_export = "store"


class Hidden(NullGuest):
    memory_export = None


def test_any_exported_memory_will_do(guest: Guest) -> None:
    with guest('(module (memory (export "store") 1))', Named).instantiate() as instance:
        assert instance.memory is instance.exports["store"]
        assert instance.memory.size == PAGE


def test_no_exported_memory_is_none(guest: Guest) -> None:
    with guest("(module (memory 1))", Hidden).instantiate() as instance:
        assert instance.memory is None


@pytest.mark.capable(wasm=True)
def test_the_export_named_memory_comes_first(wat: Callable[[str], Module]) -> None:
    text = '(module (memory (export "first") (export "memory") 1))'
    assert wat(text).memory_export == "memory"
    with wat(text).instantiate() as instance:
        assert instance.memory is instance.exports["memory"]
        assert list(instance.exports) == ["first", "memory"]


class Empty(NullGuest):
    memory_pages = 0


def test_empty_memory(guest: Guest) -> None:
    with guest('(module (memory (export "memory") 0))', Empty).instantiate() as instance:
        memory = instance.memory
        assert memory is not None
        assert memory.size == 0
        assert memory.read(0, 0) == b""
        with pytest.raises(MemoryBoundsError):
            memory.read_u8(0)
        assert memory.grow(1) == 0
        assert memory.read_u8(PAGE - 1) == 0


@pytest.mark.capable(memory_limit=True)
def test_limit_stops_growth_in_guest_and_host(module: Module) -> None:
    with module.instantiate(limits=ResourceLimits(memory_bytes=3 * PAGE)) as instance:
        memory = instance.memory
        assert memory is not None
        assert instance.exports["grow"](3) == 2**32 - 1
        with pytest.raises(MemoryBoundsError):
            memory.grow(3)
        assert memory.grow(2) == 1
        assert instance.exports["grow"](1) == 2**32 - 1


@pytest.mark.capable(memory_limit=True)
def test_limit_below_the_initial_memory(module: Module) -> None:
    with pytest.raises(InstantiationError):
        module.instantiate(limits=ResourceLimits(memory_bytes=PAGE - 1))
    module.instantiate(limits=ResourceLimits(memory_bytes=None)).close()
