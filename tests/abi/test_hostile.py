"""Guests that want to break their host: too much, too long, malformed, again and again."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.buffer import MAX_BUFFER, Buffer
from anywasm.abi.enums import BufferType, MapType
from anywasm.abi.headers import HeaderMap
from anywasm.abi.hostcalls.logging import MAX_LINE
from anywasm.abi.limits import AbiLimits
from anywasm.abi.pairs import MAX_BYTES, MAX_PAIRS, encode_pairs
from anywasm.core.errors import AbiError, DeadlineExceededError, TrapError

ADD, REPLACE = "proxy_add_header_map_value", "proxy_replace_header_map_value"
SET_PAIRS, REMOVE = "proxy_set_header_map_pairs", "proxy_remove_header_map_value"
SET_BUFFER = "proxy_set_buffer_bytes"
MOST = 0xFFFFFFFF


@pytest.fixture
def headers(probe: Any) -> HeaderMap:
    """Request headers of the probe's stream."""
    made = probe.stream.maps[MapType.HTTP_REQUEST_HEADERS] = HeaderMap([(b"a", b"1")])
    return made


# --- pointers and sizes --------------------------------------------------------------------------

#: Every function with data in it, each number 0 and each string empty but one.
WITH_DATA = [
    "proxy_get_header_map_value", "proxy_add_header_map_value", "proxy_http_call",
    "proxy_grpc_call", "proxy_grpc_stream", "proxy_set_shared_data", "proxy_get_shared_data",
    "proxy_register_shared_queue", "proxy_resolve_shared_queue", "proxy_enqueue_shared_queue",
    "proxy_define_metric", "proxy_get_property", "proxy_set_property",
    "proxy_call_foreign_function", "proxy_send_local_response", "proxy_grpc_send",
]  # fmt: skip


@pytest.mark.parametrize("name", WITH_DATA)
def test_every_address_of_every_function_is_checked(
    probe: Any, env_functions: dict[str, str], name: str
) -> None:
    from anywasm.abi.table import HOST_FUNCTIONS

    signature = HOST_FUNCTIONS[name].signature
    kinds = [*signature.inputs, *signature.outputs]
    for bad in range(len(kinds)):
        for ptr, size in ((4 * 65536, 1), (MOST, 1), (MOST, MOST), (8, MOST), (0, 4 * 65536 + 1)):
            args: list[int] = []
            for index, kind in enumerate(kinds):
                output = index >= len(signature.inputs)
                if kind.startswith("data"):
                    here = (ptr, ptr) if output else (ptr, size)
                    good = (16, 20) if output else (0, 0)
                    args += here if index == bad else good
                elif output:
                    args.append(ptr if index == bad else 16)
                else:
                    args.append(0)
            readable = ptr + 8 <= 4 * 65536 and bad >= len(signature.inputs)
            checked = bad >= len(signature.inputs) or kinds[bad] == "data"
            if checked and not readable and kinds[bad] != "data?":
                assert probe.call(name, *args) == 6, (bad, ptr, size)
    assert len(args) == len(env_functions[name])
    assert probe.allocations == 0


@pytest.mark.parametrize("mode", [1, 2])
def test_every_result_survives_a_bad_allocator(probe: Any, headers: HeaderMap, mode: int) -> None:
    probe.stream.buffers[BufferType.HTTP_REQUEST_BODY] = Buffer(b"body")
    probe.tell("proxy_set_shared_data", "k", "v", 0)
    (queue,) = probe.tell("proxy_register_shared_queue", "q")
    probe.tell("proxy_enqueue_shared_queue", queue, "item")
    probe.allocator(mode)
    for name, args in (
        ("proxy_get_buffer_bytes", (0, 0, 9)),
        ("proxy_get_header_map_pairs", (0,)),
        ("proxy_get_header_map_value", (0, "a")),
        ("proxy_get_property", ("plugin_name",)),
        ("proxy_get_shared_data", ("k",)),
        ("proxy_dequeue_shared_queue", (queue,)),
        ("proxy_call_foreign_function", ("sha256", "x")),
    ):
        assert probe.tell(name, *args) == 6
    assert probe.guest.failed is None


def test_an_allocator_that_traps_is_the_guests_end(probe: Any, headers: HeaderMap) -> None:
    probe.allocator(3)
    with pytest.raises(TrapError):
        probe.tell("proxy_get_header_map_pairs", 0)
    assert isinstance(probe.guest.failed, TrapError)


# --- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [ADD, REPLACE])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b"v"), (b":", b"v"), (b"a b", b"v"), (b"a\r\nb", b"v"), (b"a\0", b"v"),
        (b"a:", b"v"), (b"\xff", b"v"), (b"a", b"\r"), (b"a", b"\n"), (b"a", b"\0"),
        (b"a", b"v\r\nset-cookie: x"), (b":path", b"/\r\nx: y"), (b"::path", b"v"),
    ],
)  # fmt: skip
def test_what_would_break_a_message_is_refused(
    probe: Any, headers: HeaderMap, name: str, key: bytes, value: bytes
) -> None:
    assert probe.tell(name, 0, key, value) == 2
    assert probe.tell(SET_PAIRS, 0, encode_pairs([(key, value)])) == 2
    assert headers.pairs == [(b"a", b"1")]
    local = encode_pairs([(key, value)])
    assert probe.tell("proxy_send_local_response", 200, "", "", local, MOST) == 2
    assert probe.stream.local_response is None
    assert probe.tell(REMOVE, 0, key) == 0


@pytest.mark.parametrize("status", [1, 99, 100, 101, 199, 1000, 0x80000000, MOST])
def test_a_status_that_ends_no_request_is_refused(probe: Any, status: int) -> None:
    assert probe.tell("proxy_send_local_response", status, "", "", "", MOST) == 2
    assert probe.stream.local_response is None


def test_a_map_takes_so_many_pairs(probe: Any, headers: HeaderMap) -> None:
    statuses = [probe.tell(ADD, 0, "x", "") for _ in range(MAX_PAIRS + 10)]
    assert statuses == [0] * (MAX_PAIRS - 1) + [10] * 11
    assert len(headers) == MAX_PAIRS
    assert probe.tell(REPLACE, 0, "new", "") == 10
    assert probe.tell(REPLACE, 0, "a", "changed") == 0
    assert probe.tell(REPLACE, 0, "x", "") == 0  # drops the repetitions
    assert len(headers) == 2
    assert probe.tell(ADD, 0, "new", "") == 0


def test_ten_thousand_headers_at_once_are_refused(probing: Callable[..., Any]) -> None:
    probe = probing()
    headers = probe.stream.maps[0] = HeaderMap([(b"a", b"1")])
    many = encode_pairs([(b"x", b"")] * 10_000)
    assert probe.tell(SET_PAIRS, 0, many) == 2
    assert probe.tell("proxy_send_local_response", 200, "", "", many, MOST) == 2
    assert headers.pairs == [(b"a", b"1")]
    # What a client sent is told whole, however much it is.
    headers.set_pairs([(b"x", b"y")] * 5000)
    assert len(probe.ask("proxy_get_header_map_pairs", 0)[1]) == 4 + 5000 * (8 + 4)


@pytest.mark.parametrize("name", [ADD, REPLACE])
def test_a_map_takes_so_many_bytes(probe: Any, headers: HeaderMap, name: str) -> None:
    value = b"v" * (MAX_BYTES // 8)
    statuses = [probe.tell(name, 0, f"x{index}", value) for index in range(10)]
    assert statuses == [0] * 7 + [10] * 3
    assert headers.byte_size <= MAX_BYTES


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<I", MOST),
        struct.pack("<III", 1, MOST, MOST),
        struct.pack("<III", 1, 0, 0),
        struct.pack("<III", 1, 1, 1) + b"a\0b",
        struct.pack("<III", 1, 1, 1) + b"a\0b\0x",
        struct.pack("<III", 1, 1, 1) + b"axb\0",
        b"\xff" * 100,
    ],
)
def test_malformed_pairs_change_nothing(probe: Any, headers: HeaderMap, data: bytes) -> None:
    assert probe.tell(SET_PAIRS, 0, data) == 2
    assert headers.pairs == [(b"a", b"1")]


# --- buffers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "size"), [(0, 0), (MOST, 0), (MOST, MOST)])
def test_a_buffer_grows_so_far(probe: Any, start: int, size: int) -> None:
    body = probe.stream.buffers[0] = Buffer(bytes(MAX_BUFFER - 90))
    statuses = [probe.tell(SET_BUFFER, 0, start, size, b"y" * 30) for _ in range(5)]
    assert statuses == [0, 0, 0, 10, 10]
    assert len(body.data) == MAX_BUFFER == 64 << 20
    assert body.set(0, MOST, bytes(MAX_BUFFER + 1)) == 10
    assert probe.tell(SET_BUFFER, 0, 0, MOST, b"z" * 100) == 0
    assert body.data == b"z" * 100


def test_numbers_at_the_edge_do_not_overflow(probe: Any) -> None:
    body = probe.stream.buffers[0] = Buffer(b"0123456789")
    assert probe.tell("proxy_get_buffer_bytes", 0, MOST, MOST) == (b"",)
    assert probe.tell("proxy_get_buffer_bytes", 0, 5, MOST) == (b"56789",)
    assert probe.tell(SET_BUFFER, 0, 0, MOST, "new") == 0
    assert body.data == b"new"


def test_a_log_line_is_cut(probe: Any) -> None:
    size = MAX_LINE + 1000
    probe.memory.grow(32)
    probe.memory.write(65536, b"x" * size)
    assert probe.call("proxy_log", 2, 65536, size) == 0
    assert len(probe.lines[0][1]) == MAX_LINE


# --- numbers that name nothing -------------------------------------------------------------------


@pytest.mark.parametrize("number", [10, 99, 0x7FFFFFFF, 0x80000000, MOST])
def test_unknown_numbers_are_bad_arguments(probe: Any, headers: HeaderMap, number: int) -> None:
    for name, args in (
        ("proxy_log", (number, "x")),
        ("proxy_get_buffer_bytes", (number, 0, 1)),
        ("proxy_get_buffer_status", (number,)),
        (SET_BUFFER, (number, 0, 0, "x")),
        ("proxy_get_header_map_size", (number,)),
        ("proxy_get_header_map_pairs", (number,)),
        (SET_PAIRS, (number, "")),
        ("proxy_get_header_map_value", (number, "a")),
        (ADD, (number, "a", "b")),
        (REPLACE, (number, "a", "b")),
        (REMOVE, (number, "a")),
        ("proxy_continue_stream", (number,)),
        ("proxy_close_stream", (number,)),
        ("proxy_define_metric", (number, "m")),
        ("proxy_set_effective_context", (number,)),
    ):
        assert probe.tell(name, *args) == 2, name
    assert probe.guest.failed is None


def test_an_unknown_enum_is_told_before_a_bad_value(probe: Any) -> None:
    assert probe.tell("proxy_send_local_response", 200, "", "", "", 99) == 0
    assert probe.stream.local_response.grpc_status == 99


# --- time ----------------------------------------------------------------------------------------


def test_a_flood_of_calls_ends_with_the_guests_time(
    engine: str, start: Callable[..., Any], module_text: Callable[..., str]
) -> None:
    from anywasm.abi.guest import GuestLimits
    from anywasm.core.registry import get_wasm_engine

    if not get_wasm_engine(engine).capabilities.interrupt:
        pytest.skip(f"{engine} cannot interrupt a guest")
    guest = start(
        module_text(
            '(data (i32.const 64) "k")',
            '(func (export "flood") (loop $on (i32.store (i32.const 64)'
            " (i32.add (i32.load (i32.const 64)) (i32.const 1)))"
            " (drop (call $set (i32.const 64) (i32.const 4) (i32.const 0) (i32.const 60000)"
            " (i32.const 0))) (br $on)))",
            imports='(import "env" "proxy_set_shared_data"'
            " (func $set (param i32 i32 i32 i32 i32) (result i32)))",
        ),
        limits=GuestLimits(call=0.3),
    )
    root = guest.create_root(guest.base.plugin)
    with pytest.raises(DeadlineExceededError):
        guest.call(root, guest.instance.exports["flood"])
    # However long it went on, its data is bounded.
    assert guest.services.shared_data._sizes[""] <= 64 << 20


def test_contexts_without_a_stream_refuse_what_needs_one(probe: Any) -> None:
    for name, args in (
        ("proxy_continue_stream", (0,)),
        ("proxy_close_stream", (0,)),
        (ADD, (0, "a", "b")),
        (SET_BUFFER, (0, 0, 0, "x")),
    ):
        assert probe.tell(name, *args, context=probe.root) == 2
    assert probe.tell("proxy_set_property", "k", "v", context=probe.root) == 1


def test_a_guest_that_tells_no_id_or_a_huge_one(
    start: Callable[..., Any], module_text: Callable[..., str]
) -> None:
    text = module_text(
        '(func (export "proxy_get_id") (drop (call $set (i32.const 8) (i32.const 0)'
        " (i32.const 0) (i32.const 0) (i32.const 100000))))",
        imports='(import "env" "proxy_set_buffer_bytes"'
        " (func $set (param i32 i32 i32 i32 i32) (result i32)))",
    )
    with pytest.raises(AbiError, match="longer"):
        start(text).get_id()


def test_the_limits_are_the_host_s_to_set(probing: Callable[..., Any]) -> None:
    probe = probing(limits=AbiLimits(pairs=3, pairs_bytes=64, buffer_bytes=10))
    headers = probe.stream.maps[0] = HeaderMap([(b"a", b"1")])
    assert [probe.tell(ADD, 0, f"x{index}", "") for index in range(3)] == [0, 0, 10]
    assert probe.tell(REPLACE, 0, "a", "v" * 64) == 10
    assert probe.tell(SET_PAIRS, 0, encode_pairs([(b"x", b"")] * 4)) == 2
    assert probe.tell(SET_PAIRS, 0, encode_pairs([(b"x", b"v" * 60)])) == 2
    assert len(headers) == 3
    body = probe.stream.buffers[0] = Buffer(b"12345")
    assert probe.tell(SET_BUFFER, 0, 5, 0, "67890") == 0
    assert probe.tell(SET_BUFFER, 0, 10, 0, "1") == 10
    assert body.data == b"1234567890"
