"""Header maps and buffers, without a guest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anywasm.abi.buffer import Buffer
from anywasm.abi.enums import Status
from anywasm.abi.headers import HeaderMap

START = (b":method", b"GET"), (b":path", b"/"), (b"a", b"1"), (b"b", b"2"), (b"a", b"3")


@pytest.fixture
def headers() -> HeaderMap:
    return HeaderMap(START)


def test_lookup_takes_any_case_and_gives_the_first(headers: HeaderMap) -> None:
    assert headers.get(b"A") == b"1"
    assert headers.get(b":PATH") == b"/"
    assert headers.get(b"c") is None
    assert len(headers) == 5


def test_add_keeps_what_is_there_and_lowers_the_name(headers: HeaderMap) -> None:
    headers.add(b"A", b"4")
    assert headers.pairs == [*START, (b"a", b"4")]


def test_a_pseudo_header_goes_before_the_others(headers: HeaderMap) -> None:
    headers.add(b":scheme", b"http")
    assert headers.pairs == [*START[:2], (b":scheme", b"http"), *START[2:]]
    only = HeaderMap([(b":path", b"/")])
    only.add(b":method", b"GET")
    assert only.pairs == [(b":path", b"/"), (b":method", b"GET")]


def test_replace_leaves_one_in_the_first_place(headers: HeaderMap) -> None:
    headers.replace(b"A", b"")
    assert headers.pairs == [*START[:2], (b"a", b""), (b"b", b"2")]


def test_replace_adds_what_is_missing(headers: HeaderMap) -> None:
    headers.replace(b"C", b"4")
    headers.replace(b":scheme", b"http")
    assert headers.pairs == [*START[:2], (b":scheme", b"http"), *START[2:], (b"c", b"4")]


def test_remove_takes_all_and_does_not_mind_none(headers: HeaderMap) -> None:
    headers.remove(b"A")
    headers.remove(b"nothing")
    assert headers.pairs == [*START[:2], (b"b", b"2")]


def test_setting_all_pairs_replaces_the_map(headers: HeaderMap) -> None:
    headers.set_pairs([(b"X", b"1"), (b":status", b"200"), (b"x", b"2")])
    assert headers.pairs == [(b":status", b"200"), (b"x", b"1"), (b"x", b"2")]


def test_the_size_is_that_of_names_and_values(headers: HeaderMap) -> None:
    assert headers.byte_size == len(b":methodGET:path/a1b2a3")
    assert HeaderMap().byte_size == 0


@pytest.mark.parametrize(
    ("start", "size", "content"),
    [
        (0, 0, b"++hello"),
        (0, 5, b"++"),
        (0, 0x7FFFFFFF, b"++"),
        (0, 0xFFFFFFFF, b"++"),
        (5, 0, b"hello++"),
        (5, 9, b"hello++"),
        (0x7FFFFFFF, 0, b"hello++"),
    ],
)
def test_a_buffer_takes_prepend_replace_and_append(start: int, size: int, content: bytes) -> None:
    buffer = Buffer(b"hello")
    assert buffer.set(start, size, b"++") is Status.OK
    assert buffer.data == content
    assert buffer.touched


@pytest.mark.parametrize(("start", "size"), [(0, 4), (1, 0), (1, 2), (4, 9)])
def test_a_splice_in_the_middle_is_refused(start: int, size: int) -> None:
    buffer = Buffer(b"hello")
    assert buffer.set(start, size, b"++") is Status.BAD_ARGUMENT
    assert buffer.data == b"hello"
    assert not buffer.touched


def test_a_read_only_buffer_is_never_written() -> None:
    buffer = Buffer(b"hello", writable=False)
    for start, size in ((0, 0), (0, 9), (9, 0)):
        assert buffer.set(start, size, b"++") is Status.BAD_ARGUMENT
    assert buffer.data == b"hello"
    assert not buffer.touched


def test_writing_nothing_is_writing() -> None:
    buffer = Buffer()
    assert buffer.set(0, 0, b"") is Status.OK
    assert buffer.touched
    assert buffer.data == b""


@given(st.binary(max_size=8), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_reading_gives_what_is_there(data: bytes, start: int, size: int) -> None:
    got = Buffer(data).get(start, size)
    assert data[start:].startswith(got)
    assert len(got) == max(0, min(size, len(data) - start))
