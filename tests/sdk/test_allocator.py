from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

PAGE = 65536
STACK_SIZE = 16384


def test_blocks_are_aligned_distinct_and_outside_of_stack_and_data(
    start: Callable[..., Any], allocator_wasm: bytes
) -> None:
    guest = start(allocator_wasm).guest
    blocks = [(guest.call("proxy_on_memory_allocate", size), size) for size in range(200)]
    for at, size in blocks:
        assert at % 16 == 0
        assert at > STACK_SIZE
        assert at + size <= guest.memory_size()
    for (at, size), (following, _) in itertools.pairwise(sorted(blocks)):
        assert at + max(size, 1) <= following


def test_both_allocator_exports_share_one_heap(
    start: Callable[..., Any], allocator_wasm: bytes
) -> None:
    guest = start(allocator_wasm).guest
    first = guest.call("malloc", 100)
    assert guest.call("proxy_on_memory_allocate", 100) != first
    guest.call("test_free", first)
    assert guest.call("proxy_on_memory_allocate", 100) == first


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_neighbours_merge_whatever_the_order_they_are_freed_in(
    start: Callable[..., Any], allocator_wasm: bytes, order: tuple[int, ...]
) -> None:
    guest = start(allocator_wasm).guest
    blocks = [guest.call("malloc", 1000) for _ in order]
    guest.call("malloc", 1)
    for index in order:
        guest.call("test_free", blocks[index])
    assert guest.call("malloc", 4 * 1008 - 8) == blocks[0]


def test_what_is_written_to_a_block_stays(start: Callable[..., Any], allocator_wasm: bytes) -> None:
    guest = start(allocator_wasm).guest
    chance = random.Random(7)
    alive: dict[int, bytes] = {}
    for _ in range(1500):
        if alive and chance.random() < 0.45:
            at = chance.choice(list(alive))
            assert guest.read(at, len(alive[at])) == alive.pop(at)
            guest.call("test_free", at)
        else:
            content = chance.randbytes(chance.choice((0, 1, 7, 8, 9, 24, 300, 5000)))
            at = guest.call("malloc", len(content))
            assert at
            assert at not in alive
            guest.write(at, content)
            alive[at] = content
    for at, content in alive.items():
        assert guest.read(at, len(content)) == content


def test_growth_is_bounded_by_what_is_alive(
    start: Callable[..., Any], allocator_wasm: bytes
) -> None:
    guest = start(allocator_wasm).guest
    assert guest.memory_size() == PAGE
    for _ in range(50):
        at = guest.call("malloc", 16 * PAGE)
        assert at
        guest.write(at + 16 * PAGE - 4, b"last")
        guest.call("test_free", at)
    assert guest.memory_size() <= 18 * PAGE
    assert guest.call("malloc", 17 * PAGE)
    assert guest.memory_size() <= 19 * PAGE


def test_a_million_overlapping_requests_leave_memory_as_it_was(
    start: Callable[..., Any], allocator_wasm: bytes
) -> None:
    guest = start(allocator_wasm).guest
    assert guest.call("test_churn", 10_000) == 0
    size = guest.memory_size()
    # 64 blocks of at most 2 KiB are alive: twice that is the room for fragmentation.
    assert size <= 4 * PAGE
    assert guest.call("test_churn", 1_000_000) == 0
    assert guest.memory_size() == size
    # All is free again and has become one block.
    assert guest.call("malloc", size - 2 * STACK_SIZE)
    assert guest.memory_size() == size


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF])
def test_sizes_that_no_memory_holds_are_refused(
    start_limited: Callable[..., Any], allocator_wasm: bytes, size: int
) -> None:
    guest = start_limited(allocator_wasm, memory_limit=4 * PAGE).guest
    assert guest.call("malloc", size) == 0
    assert guest.call("malloc", 8) != 0


def test_a_refused_growth_is_no_memory_and_no_harm(
    start_limited: Callable[..., Any], allocator_wasm: bytes
) -> None:
    guest = start_limited(allocator_wasm, memory_limit=2 * PAGE).guest
    blocks = []
    while at := guest.call("malloc", 10_000):
        blocks.append(at)
    assert guest.memory_size() == 2 * PAGE
    assert len(blocks) == (2 * PAGE - STACK_SIZE) // 10_016
    guest.call("test_free", blocks[3])
    assert guest.call("malloc", 10_000) == blocks[3]


def test_memory_that_the_guest_grew_itself_is_left_alone(
    start: Callable[..., Any], allocator_wasm: bytes
) -> None:
    guest = start(allocator_wasm).guest
    guest.call("malloc", 1)
    own = guest.call("test_grow", 1) * PAGE
    guest.write(own, b"\xaa" * PAGE)
    blocks = [guest.call("malloc", 5000) for _ in range(60)]
    assert all(blocks)
    assert all(at + 5000 <= own or at >= own + PAGE for at in blocks)
    for at in blocks:
        guest.call("test_free", at)
    assert guest.read(own, PAGE) == b"\xaa" * PAGE


def test_free_of_null_is_fine_and_a_second_free_traps(
    start: Callable[..., Any], allocator_wasm: bytes
) -> None:
    guest = start(allocator_wasm).guest
    guest.call("test_free", 0)
    at = guest.call("malloc", 40)
    guest.call("test_free", at)
    # Each binding has a trap error of its own; what they share is the word.
    with pytest.raises(Exception, match="unreachable"):
        guest.call("test_free", at)
