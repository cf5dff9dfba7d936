"""Layotto's host functions: other functions and state."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.enums import LogLevel
from anywasm.abi.host import ServiceCall
from anywasm.abi.plugin import PluginIdentity
from anywasm.core.errors import AnyWasmError, StateStoreError

OK, BAD_ARGUMENT, BAD_MEMORY, FAILURE = 0, 2, 6, 10
OUTSIDE = [4 * 65536, 0x80000000, 0xFFFFFFFF]


class Store:
    """A store in a dict, which may be broken."""

    def __init__(self, broken: bool = False) -> None:
        self.timeouts: list[float] = []
        self._broken = broken

    def get(self, key: bytes, timeout: float) -> bytes | None:
        self.timeouts.append(timeout)
        if self._broken:
            raise StateStoreError("unreachable")
        return {b"k": b"value", b"": b"of nothing", b"empty": b""}.get(key)

    def close(self) -> None:
        pass


class Invoker:
    """Remembers calls, and answers with nothing."""

    def __init__(self) -> None:
        self.calls: list[ServiceCall] = []

    def __call__(self, call: ServiceCall) -> bytes:
        self.calls.append(call)
        return b""


@pytest.mark.parametrize(
    ("key", "value"), [(b"k", b"value"), (b"", b"of nothing"), (b"empty", b""), (b"none", b"")]
)
def test_state_is_read_and_a_missing_key_is_empty(
    probing: Callable[..., Any], key: bytes, value: bytes
) -> None:
    probe = probing(state_stores={"s": Store()})
    assert probe.ask("proxy_get_state", *probe.put(b"s"), *probe.put(key)) == (OK, value)
    assert probe.lines == []


def test_a_store_learns_how_long_it_may_take(probing: Callable[..., Any]) -> None:
    store = Store()
    probe = probing(state_stores={"s": store})
    assert probe.ask("proxy_get_state", *probe.put(b"s"), *probe.put(b"k"))[0] == OK
    assert 0 < store.timeouts[0] <= probe.guest.limits.call


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing", "unknown state store 'missing'; configured stores: s"), ("s", "unreachable")],
)
def test_a_state_that_cannot_be_read_is_a_failure_with_its_reason(
    probing: Callable[..., Any], name: str, message: str
) -> None:
    probe = probing(state_stores={"s": Store(broken=True)})
    status, _ = probe.ask("proxy_get_state", *probe.put(name.encode()), *probe.put(b"k"))
    assert status == FAILURE
    ((level, line),) = probe.lines
    assert level is LogLevel.ERROR
    assert message in line
    assert probe.guest.failed is None


def test_names_that_are_no_text_are_refused(probing: Callable[..., Any]) -> None:
    invoke = Invoker()
    calls = invoke.calls
    probe = probing(state_stores={"s": Store()}, invoke=invoke)
    bad, good = probe.put(b"\xff"), probe.put(b"id")
    assert probe.ask("proxy_get_state", *bad, *good)[0] == BAD_ARGUMENT
    assert probe.ask("proxy_invoke_service", *bad, *good, *good)[0] == BAD_ARGUMENT
    assert probe.ask("proxy_invoke_service", *good, *bad, *good)[0] == BAD_ARGUMENT
    assert calls == []


@pytest.mark.parametrize("ptr", OUTSIDE)
def test_with_a_bad_pointer_nobody_is_asked(probing: Callable[..., Any], ptr: int) -> None:
    store = Store()
    invoke = Invoker()
    calls = invoke.calls
    probe = probing(state_stores={"s": store}, invoke=invoke)
    good, at = probe.put(b"s"), probe.cell()
    for state in (
        (ptr, 1, *good, at, at + 4),
        (*good, ptr, 1, at, at + 4),
        (*good, *good, ptr, at),
        (*good, *good, at, ptr),
    ):
        assert probe.call("proxy_get_state", *state) == BAD_MEMORY
    for service in (
        (ptr, 1, *good, *good, at, at + 4),
        (*good, ptr, 1, *good, at, at + 4),
        (*good, *good, ptr, 1, at, at + 4),
        (*good, *good, *good, ptr, at),
        (*good, *good, *good, at, ptr),
    ):
        assert probe.call("proxy_invoke_service", *service) == BAD_MEMORY
    assert store.timeouts == []
    assert calls == []


def test_a_function_is_invoked_with_all_that_was_said(probing: Callable[..., Any]) -> None:
    calls: list[ServiceCall] = []

    def invoke(call: ServiceCall) -> bytes:
        calls.append(call)
        return call.param[::-1]

    probe = probing(invoke=invoke)
    stream = probe.guest.create_stream(probe.root, chain=("a", "b"))
    at = probe.cell()
    data = (*probe.put("idé".encode()), *probe.put(b"/m"), *probe.put(b"\0\xffp"))
    assert probe.call("proxy_invoke_service", *data, at, at + 4, context=stream) == OK
    assert probe.given(at) == b"p\xff\0"
    (call,) = calls
    assert (call.id, call.method, call.param) == ("idé", "/m", b"\0\xffp")
    assert call.chain == ("a", "b")
    assert time.monotonic() < call.deadline <= time.monotonic() + probe.guest.limits.call


def test_an_empty_answer_is_a_success(probing: Callable[..., Any]) -> None:
    probe = probing(invoke=lambda call: b"")
    name = probe.put(b"f")
    assert probe.ask("proxy_invoke_service", *name, 0, 0, 0, 0) == (OK, b"")


def test_the_time_for_a_call_is_the_streams_where_that_is_less(
    probing: Callable[..., Any],
) -> None:
    invoke = Invoker()
    probe = probing(invoke=invoke)
    soon = time.monotonic() + 0.5
    stream = probe.guest.create_stream(probe.root, deadline=soon)
    at = probe.cell()
    call = ("proxy_invoke_service", *probe.put(b"f"), 0, 0, 0, 0, at, at + 4)
    assert probe.call(*call, context=stream) == OK
    assert [call.deadline for call in invoke.calls] == [soon]
    assert probe.guest.expires == math.inf


@pytest.mark.parametrize(
    ("services", "message"),
    [
        ({}, "this host routes no functions"),
        ({"invoke": lambda call: _fail()}, "went wrong"),
    ],
)
def test_a_failed_call_is_a_failure_with_its_reason(
    probing: Callable[..., Any], services: dict[str, Any], message: str
) -> None:
    probe = probing(**services)
    assert probe.ask("proxy_invoke_service", *probe.put(b"f"), 0, 0, 0, 0)[0] == FAILURE
    ((level, line),) = probe.lines
    assert level is LogLevel.ERROR
    assert message in line
    assert "'f'" in line


def _fail() -> bytes:
    raise AnyWasmError("went wrong")


def test_another_effective_context_does_not_hide_who_waits(
    start: Callable[..., Any], module_text: Callable[..., str]
) -> None:
    invoke = Invoker()
    guest = start(
        module_text(
            '(data (i32.const 8) "f")',
            '(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)',
            "  (drop (call $effective (i32.const 1)))",
            "  (call $invoke (i32.const 8) (i32.const 1) (i32.const 0) (i32.const 0)",
            "    (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 20)))",
            imports='(import "env" "proxy_set_effective_context" (func $effective (param i32)'
            " (result i32)))"
            '(import "env" "proxy_invoke_service" (func $invoke'
            " (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))",
        ),
        invoke=invoke,
    )
    root = guest.create_root(PluginIdentity("probe"))
    stream = guest.create_stream(root, chain=("a", "f"))
    assert guest.call(stream, guest.callbacks.on_request_headers, stream.id, 0, 1) == OK
    assert invoke.calls[0].chain == ("a", "f")
