"""The extension's header maps do what those in Python do."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anywasm.abi.headers import HeaderMap, PythonHeaderMap
from anywasm.abi.native import native
from anywasm.abi.pairs import Pair

pytestmark = pytest.mark.skipif(native is None, reason="there is no extension to compare")

NAMES = st.binary(max_size=4) | st.sampled_from(
    [b"", b":", b":path", b":PATH", b"::", b"a", b"A", b"aA", b"B-b", b"\0", b"a\r", b"a b"]
)
VALUES = st.sampled_from([b"", b"1", b"\0", b"a\r\nb: c", b"\xff\xfe", b"v" * 40]) | st.binary(
    max_size=60
)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=8)
#: What no header map should hold, or be asked for.
STRANGE: tuple[Any, ...] = (
    None,
    "a",
    bytearray(b"A"),
    5,
    (b"a",),
    (b"a", b"1", b"2"),
    [b"a", b"1"],
    ("a", "1"),
    (b"a", bytearray(b"1")),
    (bytearray(b"a"), b"1"),
)


def outcome(act: Callable[..., Any], *args: Any) -> Any:
    """What comes of it: the answer, or the type of the error and what it says."""
    try:
        return act(*args)
    except Exception as error:
        return type(error), str(error)


OPERATION = st.one_of(
    st.tuples(st.just("get"), NAMES),
    st.tuples(st.just("add"), NAMES, VALUES),
    st.tuples(st.just("replace"), NAMES, VALUES),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("set_pairs"), PAIRS),
    st.tuples(st.just("set_pairs"), PAIRS.map(tuple)),
)


def assert_same_maps(one: Any, other: Any) -> None:
    assert outcome(lambda: one.pairs) == outcome(lambda: other.pairs)
    assert outcome(lambda: one.byte_size) == outcome(lambda: other.byte_size)
    assert outcome(lambda: len(one)) == outcome(lambda: len(other))
    assert outcome(lambda: repr(one)) == outcome(lambda: repr(other))


@given(PAIRS, st.lists(OPERATION, max_size=12))
@example(
    [(b"a", b"1"), (b":path", b"/"), (b"a", b"2")], [("add", b":x", b""), ("replace", b"A", b"")]
)
@example([], [("set_pairs", [(b"A", b"1"), (b":B", b"2"), (b"C", b"3"), (b":d", b"4")])])
def test_maps_do_the_same(pairs: list[Pair], operations: list[tuple[Any, ...]]) -> None:
    ours, theirs = native.HeaderMap(pairs), PythonHeaderMap(pairs)
    for name, *args in operations:
        held = ours.pairs, theirs.pairs
        assert getattr(ours, name)(*args) == getattr(theirs, name)(*args)
        # Who holds the list sees the same of what is done to the map.
        assert held[0] == held[1]
        assert (ours.pairs is held[0]) == (theirs.pairs is held[1])
        assert_same_maps(ours, theirs)


@given(
    st.lists(st.tuples(NAMES, VALUES) | st.sampled_from(STRANGE), max_size=4),
    st.lists(
        st.tuples(
            st.sampled_from(["get", "add", "replace", "remove", "set_pairs"]),
            st.lists(NAMES | PAIRS | st.sampled_from(STRANGE), max_size=3),
        ),
        max_size=6,
    ),
)
def test_maps_take_and_refuse_the_same(
    pairs: list[Any], operations: list[tuple[str, list[Any]]]
) -> None:
    ours, theirs = native.HeaderMap(pairs), PythonHeaderMap(pairs)
    for name, args in operations:
        told = outcome(getattr(ours, name), *args)
        assert told == outcome(getattr(theirs, name), *args), (name, args)
        assert_same_maps(ours, theirs)


@pytest.mark.parametrize("pairs", [(), None, [], {}, "ab", 5, iter([(b"a", b"b")])])
def test_maps_are_made_of_the_same(pairs: Any) -> None:
    kept = list(pairs) if hasattr(pairs, "__next__") else pairs
    told = outcome(lambda: native.HeaderMap(kept).pairs)
    assert told == outcome(lambda: PythonHeaderMap(kept).pairs)
    assert native.HeaderMap(pairs=[(b"a", b"b")]).pairs == [(b"a", b"b")]
    assert native.HeaderMap().pairs == []
    for args, kwargs in (((1, 2), {}), (((),), {"pairs": ()}), ((), {"other": ()})):
        with pytest.raises(TypeError):
            native.HeaderMap(*args, **kwargs)


def test_pairs_can_be_set_and_keywords_given() -> None:
    for cls in (native.HeaderMap, PythonHeaderMap):
        headers: Any = cls()
        headers.pairs = pairs = [(b"a", b"1")]
        headers.pairs += [(b"b", b"2")]
        assert headers.pairs is pairs
        headers.add(value=b"3", name=b"C")
        assert headers.get(name=b"c") == b"3"
        headers.pairs = ((b"a", b"1"), (b"b", b"2"))
        assert (headers.get(b"B"), len(headers), headers.byte_size) == (b"2", 2, 4)
        del headers.pairs
        with pytest.raises(AttributeError, match="pairs"):
            headers.get(b"a")
        with pytest.raises(AttributeError, match="pairs"):
            len(headers)


def test_lowering_a_name_leaves_others_letters_alone() -> None:
    """Of bytes with one letter Python keeps one object for all."""
    headers = native.HeaderMap()
    headers.add(b"Q", b"")
    assert headers.pairs == [(b"q", b"")]
    assert bytes([81]) == b"Q" == bytes(bytearray((0x51,)))
    assert b"Q"[0] == 0x51


def test_maps_in_c_are_the_ones_in_use() -> None:
    used: Any = HeaderMap
    assert used is native.HeaderMap
    assert used is not PythonHeaderMap
    with pytest.raises(TypeError):
        type("Derived", (native.HeaderMap,), {})


def test_maps_keep_nothing_of_what_they_let_go() -> None:
    """Every way through: what is found, replaced, dropped, refused or strange."""
    name, value = bytearray(b"x-Some").ljust(12, b"-"), bytearray(b"value")
    key, held = bytes(name), bytes(value)
    lower = key.lower()
    pairs = [(lower, held), (lower, held), (b":p", held)]

    def once() -> None:
        headers = native.HeaderMap(pairs)
        for _ in range(2):
            headers.get(key)
            headers.replace(key, held)
            headers.add(key, held)
            headers.add(lower, held)
            headers.add(b":Pseudo", held)
            headers.replace(b":q", held)
            headers.remove(b"absent")
            headers.remove(key)
            headers.set_pairs(pairs)
        headers.byte_size, len(headers), repr(headers)
        for strange in STRANGE:
            headers.pairs = [(lower, held), strange]
            outcome(headers.get, b"absent")
            outcome(headers.add, b":p", held)
            outcome(headers.replace, key, held)
            outcome(headers.remove, key)
            outcome(headers.set_pairs, [(lower, held), strange])
            outcome(getattr, headers, "byte_size")
            outcome(native.HeaderMap, pairs, 1)
            outcome(native.HeaderMap, strange)

    def count() -> tuple[int, ...]:
        gc.collect()
        # Numbers and None are everybody's.
        strange = [s for s in STRANGE if isinstance(s, (tuple, list, bytearray))]
        return tuple(map(sys.getrefcount, [held, key, lower, native.HeaderMap, *strange]))

    once()
    before = count()
    for _ in range(20):
        once()
    assert count() == before
