from __future__ import annotations

import ctypes
import struct
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anywasm.core.errors import ArgumentError, ClosedError, UnsupportedError
from anywasm.core.gate import CallGate, Deadline
from anywasm.core.marshal import (
    SlotLayout,
    SlotViews,
    slot_export,
    slot_export_bits,
    slot_host,
    value_export,
    value_host,
)
from anywasm.core.types import FuncType, ValueType

I32, I64, F32, F64, V128 = (
    ValueType.I32,
    ValueType.I64,
    ValueType.F32,
    ValueType.F64,
    ValueType.V128,
)
LAYOUTS = [SlotLayout(stride=1), SlotLayout(stride=2, v128=True)]
NUMBERS = (I32, I64, F32, F64)

VALUES: dict[ValueType, st.SearchStrategy[Any]] = {
    I32: st.integers(-(2**31), 2**32 - 1),
    I64: st.integers(-(2**63), 2**64 - 1),
    F32: st.floats(width=32),
    F64: st.floats(),
}
TYPED = st.lists(
    st.sampled_from(NUMBERS).flatmap(lambda kind: st.tuples(st.just(kind), VALUES[kind])),
    max_size=6,
)


def seen(kind: ValueType, value: Any) -> Any:
    """A value as it comes back, in a form in which NaNs are equal."""
    if kind is I32:
        return value & 0xFFFFFFFF
    if kind is I64:
        return value & 0xFFFFFFFFFFFFFFFF
    return struct.pack("<d", value) if value == value else "nan"


def slots(type: FuncType, layout: SlotLayout) -> tuple[Any, SlotViews]:
    buffer = (ctypes.c_ubyte * layout.size(type))()
    return buffer, SlotViews(memoryview(buffer))


def echo(layout: SlotLayout, kinds: tuple[ValueType, ...]) -> tuple[Callable[..., Any], Any]:
    """An export that returns its arguments, since both begin at the first slot."""
    func_type = FuncType(kinds, kinds)
    buffer, views = slots(func_type, layout)
    return slot_export("echo", func_type, layout, CallGate("it"), views, lambda: None), buffer


def several(values: Any, count: int) -> tuple[Any, ...]:
    return () if count == 0 else (values,) if count == 1 else values


@pytest.mark.parametrize("layout", LAYOUTS)
@given(TYPED)
def test_slots_keep_values(layout: SlotLayout, typed: list[tuple[ValueType, Any]]) -> None:
    kinds = tuple(kind for kind, _ in typed)
    call, _ = echo(layout, kinds)
    result = call(*(value for _, value in typed))
    got = several(result, len(kinds))
    assert [seen(k, v) for k, v in zip(kinds, got)] == [seen(k, v) for k, v in typed]


@pytest.mark.parametrize("signed", [True, False])
@given(TYPED)
def test_bindings_get_values_in_their_signedness(
    signed: bool, typed: list[tuple[ValueType, Any]]
) -> None:
    kinds = tuple(kind for kind, _ in typed)

    def invoke(*args: Any) -> Any:
        for kind, value in zip(kinds, args):
            if kind in (I32, I64):
                bits = 32 if kind is I32 else 64
                low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
                assert low <= value < high
            else:
                assert type(value) is float
        return args if len(args) > 1 else args[0] if args else None

    call = value_export("f", FuncType(kinds, kinds), CallGate("it"), invoke, signed=signed)
    got = several(call(*(value for _, value in typed)), len(kinds))
    assert [seen(k, v) for k, v in zip(kinds, got)] == [seen(k, v) for k, v in typed]


@pytest.mark.parametrize("signed", [True, False])
@given(TYPED)
def test_host_of_a_binding(signed: bool, typed: list[tuple[ValueType, Any]]) -> None:
    kinds = tuple(kind for kind, _ in typed)
    given_to_host: list[Any] = []

    def fn(*args: Any) -> Any:
        given_to_host.extend(args)
        return args if len(args) > 1 else args[0] if args else None

    host = value_host("env.f", FuncType(kinds, kinds), fn, signed=signed)
    host(*(value for _, value in typed))
    assert [seen(k, v) for k, v in zip(kinds, given_to_host)] == [seen(k, v) for k, v in typed]
    assert all(value >= 0 for kind, value in zip(kinds, given_to_host) if kind in (I32, I64))


@pytest.mark.parametrize("results_first", [True, False])
def test_host_in_slots(results_first: bool) -> None:
    layout = SlotLayout(stride=1, results_first=results_first)
    func_type = FuncType((I32, F64), (I64, F32))
    buffer = (ctypes.c_ubyte * 64)()
    views: Any = SlotViews(memoryview(buffer))
    first = 2 if results_first else 0
    # Only the low half of a slot counts for a 32-bit value.
    views.q[first] = 0xDEADBEEF_FFFFFFFF
    views.d[first + 1] = 2.5
    got: list[Any] = []

    def fn(a: int, b: float) -> tuple[int, float]:
        got.extend((a, b))
        return -1, 0.5

    slot_host("env.f", func_type, layout, fn)(views.q, views.d, views.f, views.b)
    assert got == [0xFFFFFFFF, 2.5]
    assert views.q[0] == 0xFFFFFFFFFFFFFFFF
    assert views.f[2] == 0.5
    assert views.q[1] >> 32 == 0


def test_vectors_are_16_bytes() -> None:
    data = bytes(range(16))
    call, _ = echo(LAYOUTS[1], (I32, V128))
    assert call(1, data) == (1, data)
    assert call(1, bytearray(data)) == (1, data)
    for wrong in (data[:15], data + b"x", 5, None, "x" * 16):
        with pytest.raises(ArgumentError, match="value 1 must be 16 bytes for v128"):
            call(1, wrong)
    buffer, views = slots(FuncType((V128,), (V128,)), LAYOUTS[1])
    func_type = FuncType((V128,), (V128,))
    bits = slot_export_bits(
        func_type, LAYOUTS[1], CallGate("it"), views, lambda: None, "f", (2**128 - 1,)
    )
    assert bits == 2**128 - 1
    assert bytes(buffer[:16]) == b"\xff" * 16


def test_types_that_cannot_cross_are_refused_by_name() -> None:
    func_type = FuncType((ValueType.EXTERNREF,), ())
    gate = CallGate("it")
    _, views = slots(func_type, LAYOUTS[0])
    match = "values of type externref cannot be passed"
    with pytest.raises(UnsupportedError, match=match):
        slot_export("f", func_type, LAYOUTS[0], gate, views, lambda: None)(None)
    with pytest.raises(UnsupportedError, match=match):
        value_export("f", func_type, gate, print, signed=True)(None)
    with pytest.raises(UnsupportedError, match=match):
        slot_host("f", func_type, LAYOUTS[0], print)
    with pytest.raises(UnsupportedError, match=match):
        value_host("f", func_type, print, signed=False)
    with pytest.raises(UnsupportedError, match=match):
        slot_export_bits(func_type, LAYOUTS[0], gate, views, lambda: None, "f", (1,))
    with pytest.raises(UnsupportedError, match="values of type v128"):
        slot_host("f", FuncType((V128,), ()), LAYOUTS[0], print)


@given(st.sampled_from(NUMBERS), st.integers(0, 2**64 - 1))
def test_bits_come_back(kind: ValueType, bits: int) -> None:
    width = 32 if kind in (I32, F32) else 64
    func_type = FuncType((kind, kind), (kind, kind))
    _, views = slots(func_type, LAYOUTS[0])
    args = (bits & (1 << width) - 1, 0)
    assert (
        slot_export_bits(func_type, LAYOUTS[0], CallGate("it"), views, lambda: None, "f", args)
        == args
    )


def wrapped() -> tuple[CallGate, Callable[..., Any], list[tuple[Any, ...]]]:
    calls: list[tuple[Any, ...]] = []
    gate = CallGate("it")
    call = value_export(
        "f", FuncType((I32,), ()), gate, lambda *args: calls.append(args), signed=False
    )
    return gate, call, calls


def test_the_gate_is_asked_before_anything_else() -> None:
    gate, call, calls = wrapped()
    with Deadline(gate, 0), pytest.raises(TimeoutError):
        call("wrong", "count")
    gate.close()
    with pytest.raises(ClosedError):
        call("wrong", "count")
    assert not calls


def test_the_gate_is_given_back_after_an_error() -> None:
    gate, call, calls = wrapped()
    for wrong in (("x",), (), (2**40,), (1, 2)):
        with pytest.raises(ArgumentError):
            call(*wrong)
    assert not gate._lock._is_owned()
    call(5)
    assert calls == [(5,)]
    assert gate.close()


class Float:
    def __float__(self) -> float:
        return 1.5


class Index:
    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [(F64, Float(), 1.5), (F64, Index(), 7.0), (F32, True, 1.0), (I32, True, 1)],
)
def test_what_is_like_a_number_will_do(kind: ValueType, value: Any, result: float) -> None:
    call = value_export("f", FuncType((kind,), (kind,)), CallGate("it"), lambda x: x, signed=False)
    assert call(value) == result


@pytest.mark.parametrize("value", ["1.5", b"1.5", None, [1.5], 1j, 10**400, object()])
def test_what_is_no_float_is_refused(value: Any) -> None:
    gate = CallGate("it")
    for kind in (F32, F64):
        func_type = FuncType((kind,), (kind,))
        with pytest.raises(ArgumentError):
            value_export("f", func_type, gate, lambda x: x, signed=True)(value)
        with pytest.raises(ArgumentError):
            value_host("f", func_type, lambda x: value, signed=True)(0.5)
        call, _ = echo(LAYOUTS[0], (kind,))
        with pytest.raises(ArgumentError):
            call(value)


def test_traceback_shows_the_generated_lines() -> None:
    def fail(*args: Any) -> None:
        raise KeyError("inside")

    # A type that no other test has: its lines are written now, and not cleared since.
    func_type = FuncType((I32, F64, I32, F32, I64), ())
    call = value_export("f", func_type, CallGate("it"), fail, signed=True)
    try:
        call(1, 2, 3, 4, 5)
    except KeyError:
        text = traceback.format_exc()
    assert "<anywasm export func (i32 f64 i32 f32 i64) -> ()>" in text
    assert "invoke(a0, a1, a2, a3, a4)" in text


@pytest.mark.parametrize("count", [1, 20, 300])
def test_many_values(count: int) -> None:
    call, _ = echo(LAYOUTS[0], (I64,) * count)
    assert several(call(*range(count)), count) == tuple(range(count))
