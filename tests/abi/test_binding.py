"""Marshalling from a row of the table, for every kind of input and output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.binding import bind_host_function
from anywasm.abi.enums import Status
from anywasm.abi.table import HOST_FUNCTIONS, Signature, host_function
from anywasm.core.types import FuncType, ValueType

OUTSIDE = 4 * 65536
Bind = Callable[..., Callable[..., Any]]


@pytest.fixture
def bind(probe: Any) -> Any:
    """Binds a function of the test to a real guest, and notes what it is called with."""
    name = "proxy_of_a_test"

    def bind(signature: str, answer: object, seen: list[tuple[Any, ...]]) -> Any:
        HOST_FUNCTIONS.pop(name, None)

        @host_function(name, signature)
        def implementation(context: Any, *args: Any) -> object:
            assert context is probe.guest.effective
            seen.append(args)
            return answer

        return bind_host_function(HOST_FUNCTIONS[name], probe.guest)

    yield bind
    HOST_FUNCTIONS.pop(name, None)


def test_a_signature_has_a_type() -> None:
    i32, i64 = ValueType.I32, ValueType.I64
    params = (i32, i32, i64, i64, i32, i32, i32, i32, i32, i32)
    assert Signature.parse("u32 i32 i64 u64 data -> data u32 u64").type == FuncType(params, (i32,))
    assert Signature.parse("").type == FuncType((), (i32,))
    assert Signature.parse("-> u64").type == FuncType((i32,), (i32,))


def test_unknown_words_and_second_declarations_are_errors() -> None:
    with pytest.raises(KeyError):
        Signature.parse("u8")
    with pytest.raises(KeyError):
        Signature.parse("-> i64")
    with pytest.raises(ValueError, match="proxy_log is declared twice"):
        host_function("proxy_log", "u32 data")(lambda context: None)


def test_numbers_get_the_sign_that_they_are_declared_with(bind: Bind) -> None:
    seen: list[tuple[Any, ...]] = []
    call = bind("u32 i32 u64 i64", None, seen)
    assert call(2**32 - 1, 2**32 - 1, 2**64 - 1, 2**64 - 1) == 0
    assert call(2**31, 2**31, 2**63, 2**63) == 0
    assert call(2**31 - 1, 2**31 - 1, 2**63 - 1, 2**63 - 1) == 0
    assert seen == [
        (2**32 - 1, -1, 2**64 - 1, -1),
        (2**31, -(2**31), 2**63, -(2**63)),
        (2**31 - 1, 2**31 - 1, 2**63 - 1, 2**63 - 1),
    ]


def test_results_are_written_where_they_are_wanted(bind: Bind, probe: Any) -> None:
    call = bind("-> data u32 u64", (b"bytes", 2**32 - 1, 2**64 - 1), [])
    at = probe.cell(32)
    assert call(at, at + 4, at + 8, at + 16) == 0
    assert probe.given(at) == b"bytes"
    assert (probe.u32(at + 8), probe.u64(at + 16)) == (2**32 - 1, 2**64 - 1)


def test_a_status_instead_of_results_writes_nothing(bind: Bind, probe: Any) -> None:
    call = bind("-> data u32 u64", Status.EMPTY, [])
    at, _ = probe.put(b"\xee" * 32)
    assert call(at, at + 4, at + 8, at + 16) == 7
    assert probe.memory.read(at, 32) == b"\xee" * 32


def test_a_status_or_nothing_where_there_is_no_result(bind: Bind) -> None:
    assert bind("", None, [])() == 0
    assert bind("", Status.OK, [])() == 0
    assert bind("", Status.UNIMPLEMENTED, [])() == 12


@pytest.mark.parametrize("bad", range(5))
@pytest.mark.parametrize("outside", [OUTSIDE, 2**32 - 1])
def test_no_bad_pointer_lets_the_function_act(
    bind: Bind, probe: Any, bad: int, outside: int
) -> None:
    seen: list[tuple[Any, ...]] = []
    call = bind("data -> data u32 u64", (b"x", 1, 2), seen)
    at = probe.cell(32)
    pointers = [at, at, at + 4, at + 8, at + 16]
    pointers[bad] = outside
    assert call(pointers[0], 1, *pointers[1:]) == 6
    assert seen == []
    assert probe.allocations == 0


def test_data_of_no_bytes_is_empty_at_any_address(bind: Bind) -> None:
    seen: list[tuple[Any, ...]] = []
    call = bind("data", None, seen)
    for ptr in (0, 1, OUTSIDE, 2**32 - 1):
        assert call(ptr, 0) == 0
    assert seen == [(b"",)] * 4


def test_the_table_has_the_types_of_the_specification(env_functions: dict[str, str]) -> None:
    for name, letters in env_functions.items():
        kinds = {"i": ValueType.I32, "I": ValueType.I64}
        wanted = FuncType(tuple(kinds[letter] for letter in letters), (ValueType.I32,))
        assert HOST_FUNCTIONS[name].type == wanted, name
