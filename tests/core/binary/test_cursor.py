from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anywasm.core.binary.cursor import Cursor
from anywasm.core.errors import CompileError

if TYPE_CHECKING:
    from collections.abc import Callable


def cursor(data: bytes) -> Cursor:
    return Cursor(data, 0, len(data), "test")


def signed_leb(value: int) -> bytes:
    encoded = bytearray()
    while True:
        byte = value & 0x7F
        value >>= 7
        if (value, byte & 0x40) in ((0, 0), (-1, 0x40)):
            return bytes([*encoded, byte])
        encoded.append(0x80 | byte)


@given(st.integers(0, 2**32 - 1))
def test_every_u32_is_read_back(leb: Callable[[int], bytes], value: int) -> None:
    reader = cursor(leb(value))
    assert reader.u32() == value
    reader.finish()


@given(st.integers(0, 2**64 - 1))
def test_every_u64_is_read_back(leb: Callable[[int], bytes], value: int) -> None:
    assert cursor(leb(value)).u64() == value


@pytest.mark.parametrize("bits", [32, 33, 64])
@given(data=st.data())
def test_every_signed_integer_is_read_back(bits: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    reader = cursor(signed_leb(value))
    assert getattr(reader, f"s{bits}")() == value
    reader.finish()


@pytest.mark.parametrize("bits", [32, 33, 64])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_signed_integer_out_of_range_is_refused(bits: int, sign: int) -> None:
    value = 2 ** (bits - 1) if sign > 0 else -(2 ** (bits - 1)) - 1
    with pytest.raises(CompileError, match=f"does not fit into {bits} bits"):
        getattr(cursor(signed_leb(value)), f"s{bits}")()


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"\x80\x80\x80\x80\x00", 0),
        (b"\x83\x00", 3),
        (b"\xff\xff\xff\xff\x0f", 2**32 - 1),
    ],
)
def test_padding_up_to_the_longest_encoding_is_allowed(encoded: bytes, value: int) -> None:
    assert cursor(encoded).u32() == value


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"\x80\x80\x80\x80\x80\x00", "too many bytes"),
        (b"\xff\xff\xff\xff\x1f", "does not fit"),
        (b"\x80\x80\x80\x80\x70", "does not fit"),
        (b"\x80\x80", "unexpected end"),
        (b"", "unexpected end"),
    ],
)
def test_a_malformed_u32_is_refused(encoded: bytes, reason: str) -> None:
    with pytest.raises(CompileError, match=reason):
        cursor(encoded).u32()


def test_unused_bits_of_a_negative_integer_repeat_the_sign() -> None:
    assert cursor(b"\xff\xff\xff\xff\x7f").s32() == -1
    with pytest.raises(CompileError, match="does not fit into 32 bits"):
        cursor(b"\xff\xff\xff\xff\x0f").s32()


def test_nothing_is_read_past_the_end_of_the_bounds() -> None:
    reader = Cursor(b"abcdef", 1, 3, "import section")
    assert reader.bytes(2) == b"bc"
    with pytest.raises(CompileError, match=r"byte 0x3 \(import section\): unexpected end"):
        reader.u8()
    with pytest.raises(CompileError, match="1 bytes wanted, 0 left"):
        reader.bytes(1)


def test_what_is_left_over_is_an_error() -> None:
    reader = cursor(b"ab")
    reader.u8()
    with pytest.raises(CompileError, match="1 bytes more"):
        reader.finish()


@pytest.mark.parametrize("method", ["count", "name", "u32_vector"])
def test_a_huge_length_fails_before_anything_is_allocated(method: str) -> None:
    reader = cursor(b"\xff\xff\xff\xff\x0f" + bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(CompileError):
            getattr(reader, method)()
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_count_takes_the_size_of_elements_into_account() -> None:
    assert cursor(b"\x02abcd").count(2) == 2
    with pytest.raises(CompileError, match="3 elements cannot fit into 4 bytes"):
        cursor(b"\x03abcd").count(2)


@given(st.text())
def test_every_name_is_read_back(leb: Callable[[int], bytes], text: str) -> None:
    assert cursor(leb(len(text.encode())) + text.encode()).name() == text


@pytest.mark.parametrize(
    "encoded",
    [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"],
    ids=["stray byte", "overlong", "surrogate", "beyond Unicode", "cut off"],
)
def test_a_name_is_strict_utf8(encoded: bytes) -> None:
    with pytest.raises(CompileError, match=r"byte 0x2 .*not valid UTF-8"):
        cursor(bytes([len(encoded) + 1]) + b"a" + encoded).name()


@given(st.lists(st.integers(0, 127)) | st.lists(st.integers(0, 2**32 - 1)))
def test_every_vector_is_read_back(leb: Callable[[int], bytes], values: list[int]) -> None:
    reader = cursor(leb(len(values)) + b"".join(map(leb, values)))
    assert list(reader.u32_vector()) == values
    reader.finish()


def test_a_vector_with_fewer_integers_than_bytes_is_refused() -> None:
    with pytest.raises(CompileError, match="unexpected end"):
        cursor(b"\x02\x80\x00").u32_vector()


def test_bytes_after_a_vector_are_left_over() -> None:
    reader = cursor(b"\x01\x05\x06")
    assert list(reader.u32_vector()) == [5]
    assert reader.remaining == 1
