from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anywasm.abi.pairs import MAX_BYTES, MAX_PAIRS, decode_pairs, encode_pairs
from anywasm.core.errors import AbiError

PAIRS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=12)


def test_the_layout_is_counts_lengths_and_terminated_strings() -> None:
    assert encode_pairs([(b"a", b"123"), (b"bc", b"")]) == (
        b"\2\0\0\0\1\0\0\0\3\0\0\0\2\0\0\0\0\0\0\0a\x00123\0bc\0\0"
    )


def test_no_pairs_are_no_bytes() -> None:
    assert encode_pairs([]) == b""
    assert encode_pairs(iter(())) == b""


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\0"])
def test_three_forms_of_an_empty_map_are_read(data: bytes) -> None:
    assert decode_pairs(data) == []


@given(PAIRS)
def test_pairs_survive_with_order_duplicates_and_any_bytes(
    pairs: list[tuple[bytes, bytes]],
) -> None:
    assert decode_pairs(encode_pairs(pairs)) == pairs
    assert encode_pairs(iter(pairs)) == encode_pairs(pairs)


@given(st.binary(max_size=80))
@example(b"\1\0\0\0" + b"\xff" * 8 + b"a\0b\0")
@example(b"\xff\xff\xff\xff")
@example(b"\1\0\0\0")
def test_what_decodes_encodes_to_the_same_bytes(data: bytes) -> None:
    try:
        pairs = decode_pairs(data)
    except AbiError:
        return
    assert encode_pairs(pairs) == (data if pairs else b"")


@given(PAIRS.filter(bool), st.data())
def test_a_damaged_map_is_an_error_or_another_map_but_never_a_crash(
    pairs: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    wire = bytearray(encode_pairs(pairs))
    index = data.draw(st.integers(0, len(wire) - 1))
    wire[index] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_pairs(bytes(wire))
    except AbiError:
        return
    assert encode_pairs(decoded) == (bytes(wire) if decoded else b"")


@given(PAIRS.filter(bool), st.data())
def test_a_cut_or_lengthened_map_is_an_error(
    pairs: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    wire = encode_pairs(pairs)
    with pytest.raises(AbiError):
        decode_pairs(wire + b"\0")
    cut = data.draw(st.integers(2, len(wire) - 1))
    with pytest.raises(AbiError):
        decode_pairs(wire[:cut])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\1", "no count"),
        (b"\0\0\0", "no count"),
        (b"\1\0\0\0", "claims 1 pairs"),
        (b"\xff\xff\xff\xff" + bytes(64), "claims 4294967295 pairs"),
        (b"\1\0\0\0" + struct.pack("<II", 1, 1) + b"a0b\0", "pair 0 is not terminated"),
        (b"\1\0\0\0" + struct.pack("<II", 1, 1) + b"a\0b0", "pair 0 is not terminated"),
        (b"\1\0\0\0" + struct.pack("<II", 1, 0xFFFFFFFF) + b"a\0b\0", "pair 0 is not terminated"),
        (b"\1\0\0\0" + struct.pack("<II", 0xFFFFFFFF, 1) + b"a\0b\0", "pair 0 is not terminated"),
        (b"\1\0\0\0" + struct.pack("<II", 1, 1) + b"a\0b\0x", "1 bytes after its last pair"),
        (b"\0\0\0\0\0", "1 bytes after its last pair"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, message: str) -> None:
    with pytest.raises(AbiError, match=message):
        decode_pairs(data)


def test_the_limits_are_exact() -> None:
    most = [(b"k", b"v")] * MAX_PAIRS
    assert decode_pairs(encode_pairs(most)) == most
    with pytest.raises(AbiError, match="claims 1025 pairs"):
        decode_pairs(encode_pairs([*most, (b"k", b"v")]))
    value = bytes(MAX_BYTES - 15)
    assert len(encode_pairs([(b"k", value)])) == MAX_BYTES
    assert decode_pairs(encode_pairs([(b"k", value)])) == [(b"k", value)]
    with pytest.raises(AbiError, match="over the limit"):
        decode_pairs(encode_pairs([(b"k", value + b"\0")]))
