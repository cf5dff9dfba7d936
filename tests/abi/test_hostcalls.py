"""Host functions as a guest sees them: statuses, results, and what they do to maps and buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.buffer import Buffer
from anywasm.abi.enums import BufferType, LogLevel, MapType, StreamType
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import decode_pairs, encode_pairs

OK, NOT_FOUND, BAD_ARGUMENT, BAD_MEMORY = 0, 1, 2, 6
REQUEST, RESPONSE = int(MapType.HTTP_REQUEST_HEADERS), int(MapType.HTTP_RESPONSE_HEADERS)
BODY = int(BufferType.HTTP_REQUEST_BODY)
MOST = 0xFFFFFFFF
#: Pointers past the guest's memory, up to the last ones of 32 bits.
OUTSIDE = [4 * 65536, 4 * 65536 - 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF]


@pytest.fixture
def headers(probe: Any) -> HeaderMap:
    """Request headers of the probe's stream."""
    made = HeaderMap([(b":path", b"/x"), (b"a", b"1"), (b"b", b""), (b"a", b"2")])
    probe.stream.maps[REQUEST] = made
    return made


@pytest.fixture
def body(probe: Any) -> Buffer:
    """A request body of the probe's stream."""
    made = probe.stream.buffers[BODY] = Buffer(b"0123456789")
    return made


# --- logging and time ----------------------------------------------------------------------------


def test_log_lines_have_level_and_text(probing: Callable[..., Any]) -> None:
    probe = probing(log_level=LogLevel.TRACE)
    for level in LogLevel:
        assert probe.call("proxy_log", level, *probe.put(f"at {level.name} ü".encode())) == OK
    assert probe.lines == [(level, f"at {level.name} ü") for level in LogLevel]


def test_lines_below_the_level_are_dropped_with_success(probing: Callable[..., Any]) -> None:
    probe = probing(log_level=LogLevel.WARN)
    assert probe.call("proxy_log", LogLevel.INFO, *probe.put(b"quiet")) == OK
    assert probe.call("proxy_log", LogLevel.WARN, *probe.put(b"loud")) == OK
    assert probe.lines == [(LogLevel.WARN, "loud")]
    at = probe.cell()
    assert probe.call("proxy_get_log_level", at) == OK
    assert probe.u32(at) == LogLevel.WARN


def test_a_log_line_may_be_any_bytes(probe: Any) -> None:
    assert probe.call("proxy_log", 2, *probe.put(b"a\xff\0b")) == OK
    assert probe.lines == [(LogLevel.INFO, "a\\xff\0b")]


@pytest.mark.parametrize("level", [6, 0x80000000, MOST])
def test_an_unknown_log_level_is_a_bad_argument(probe: Any, level: int) -> None:
    assert probe.call("proxy_log", level, *probe.put(b"x")) == BAD_ARGUMENT
    assert probe.lines == []


def test_time_is_64_bits_of_nanoseconds(probing: Callable[..., Any]) -> None:
    probe = probing(realtime=lambda: 0x1234_5678_9ABC_DEF0)
    at = probe.cell()
    assert probe.call("proxy_get_current_time_nanoseconds", at) == OK
    assert probe.u64(at) == 0x1234_5678_9ABC_DEF0


# --- pointers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ptr", OUTSIDE)
def test_a_bad_input_pointer_is_6_and_nothing_happens(
    probe: Any, headers: HeaderMap, body: Buffer, ptr: int
) -> None:
    before = list(headers.pairs)
    good = probe.put(b"a")
    at = probe.cell()
    for name, args in (
        ("proxy_log", (2, ptr, 4)),
        ("proxy_get_header_map_value", (REQUEST, ptr, 4, at, at + 4)),
        ("proxy_add_header_map_value", (REQUEST, ptr, 4, *good)),
        ("proxy_add_header_map_value", (REQUEST, *good, ptr, 4)),
        ("proxy_replace_header_map_value", (REQUEST, *good, ptr, 4)),
        ("proxy_remove_header_map_value", (REQUEST, ptr, 4)),
        ("proxy_set_header_map_pairs", (REQUEST, ptr, 4)),
        ("proxy_set_buffer_bytes", (BODY, 0, 0, ptr, 4)),
        ("proxy_send_local_response", (200, ptr, 4, *good, 0, 0, MOST)),
        ("proxy_send_local_response", (200, *good, ptr, 4, 0, 0, MOST)),
        ("proxy_send_local_response", (200, *good, *good, ptr, 4, MOST)),
    ):
        assert probe.call(name, *args) == BAD_MEMORY, name
    assert headers.pairs == before
    assert body.data == b"0123456789"
    assert probe.stream.local_response is None
    assert probe.lines == []
    assert probe.guest.failed is None


@pytest.mark.parametrize("size", [4 * 65536 + 1, 0x7FFFFFFF, 0x80000000, MOST])
def test_a_size_past_the_memory_is_a_bad_pointer(probe: Any, size: int) -> None:
    assert probe.call("proxy_log", 2, 0, size) == BAD_MEMORY
    assert probe.call("proxy_log", 2, 16, size) == BAD_MEMORY


def test_the_last_byte_of_memory_can_be_read(probe: Any) -> None:
    probe.memory.write(4 * 65536 - 1, b"z")
    assert probe.call("proxy_log", 2, 4 * 65536 - 1, 1) == OK
    assert probe.lines == [(LogLevel.INFO, "z")]


@pytest.mark.parametrize("ptr", [0, 1, *OUTSIDE])
def test_nothing_can_be_read_from_any_pointer(probe: Any, headers: HeaderMap, ptr: int) -> None:
    assert probe.call("proxy_log", 2, ptr, 0) == OK
    assert probe.call("proxy_add_header_map_value", REQUEST, *probe.put(b"c"), ptr, 0) == OK
    assert headers.get(b"c") == b""
    assert probe.call("proxy_send_local_response", 200, ptr, 0, ptr, 0, ptr, 0, MOST) == OK
    assert probe.stream.local_response.body == b""


@pytest.mark.parametrize("ptr", OUTSIDE)
def test_a_bad_result_pointer_is_6_before_anything_is_allocated(
    probe: Any, headers: HeaderMap, body: Buffer, ptr: int
) -> None:
    at = probe.cell()
    for first, second in ((ptr, at), (at, ptr)):
        assert probe.call("proxy_get_buffer_bytes", BODY, 0, 9, first, second) == BAD_MEMORY
        assert probe.call("proxy_get_buffer_bytes", BODY, 99, 9, first, second) == BAD_MEMORY
        assert probe.call("proxy_get_header_map_pairs", REQUEST, first, second) == BAD_MEMORY
        key = probe.put(b"a")
        assert probe.call("proxy_get_header_map_value", REQUEST, *key, first, second) == BAD_MEMORY
        assert probe.call("proxy_get_buffer_status", BODY, first, second) == BAD_MEMORY
    assert probe.call("proxy_get_header_map_size", REQUEST, ptr) == BAD_MEMORY
    assert probe.call("proxy_get_log_level", ptr) == BAD_MEMORY
    assert probe.call("proxy_get_current_time_nanoseconds", ptr) == BAD_MEMORY
    assert probe.allocations == 0
    assert probe.u32(at) == 0


def test_a_u64_that_does_not_fit_before_the_end_is_6(probe: Any) -> None:
    assert probe.call("proxy_get_current_time_nanoseconds", 4 * 65536 - 8) == OK
    assert probe.call("proxy_get_current_time_nanoseconds", 4 * 65536 - 7) == BAD_MEMORY


# --- the allocator -------------------------------------------------------------------------------


def test_results_lie_in_memory_that_the_guest_allocated(probe: Any, body: Buffer) -> None:
    assert probe.ask("proxy_get_buffer_bytes", BODY, 2, 3) == (OK, b"234")
    assert probe.allocations == 1


def test_nothing_is_not_allocated(probe: Any, headers: HeaderMap) -> None:
    at, _ = probe.put(b"\xff" * 16)
    key = probe.put(b"b")
    assert probe.call("proxy_get_header_map_value", REQUEST, *key, at, at + 4) == OK
    assert (probe.u32(at), probe.u32(at + 4)) == (0, 0)
    assert probe.allocations == 0


@pytest.mark.parametrize("mode", [1, 2])
def test_an_allocator_that_fails_is_6(probe: Any, body: Buffer, mode: int) -> None:
    probe.allocator(mode)
    at, _ = probe.put(b"\xee" * 8)
    assert probe.call("proxy_get_buffer_bytes", BODY, 0, 9, at, at + 4) == BAD_MEMORY
    assert probe.u32(at) == 0xEEEEEEEE
    assert probe.guest.failed is None


def test_memory_may_grow_while_it_is_allocated(probe: Any, body: Buffer) -> None:
    probe.allocator(4)
    assert probe.ask("proxy_get_buffer_bytes", BODY, 0, 99) == (OK, b"0123456789")


# --- buffers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "size", "content"),
    [
        (0, MOST, b"0123456789"),
        (8, 5, b"89"),
        (10, 1, b""),
        (MOST, 0, b""),
        (3, 0, b""),
        (7, MOST, b"789"),
    ],
)
def test_a_buffer_is_read_in_part(
    probe: Any, body: Buffer, start: int, size: int, content: bytes
) -> None:
    assert probe.ask("proxy_get_buffer_bytes", BODY, start, size) == (OK, content)


def test_a_buffers_status_is_its_size_without_flags(probe: Any, body: Buffer) -> None:
    at, _ = probe.put(b"\xff" * 8)
    assert probe.call("proxy_get_buffer_status", BODY, at, at + 4) == OK
    assert (probe.u32(at), probe.u32(at + 4)) == (10, 0)


def test_a_buffer_is_written(probe: Any, body: Buffer) -> None:
    assert probe.call("proxy_set_buffer_bytes", BODY, 0, 0x7FFFFFFF, *probe.put(b"new")) == OK
    assert probe.call("proxy_set_buffer_bytes", BODY, 0x7FFFFFFF, 0, *probe.put(b"er")) == OK
    assert probe.call("proxy_set_buffer_bytes", BODY, 1, 1, *probe.put(b"?")) == BAD_ARGUMENT
    assert body.data == b"newer"


@pytest.mark.parametrize("kind", [0, 1, 6])
def test_some_missing_buffers_read_as_empty_and_cannot_be_written(probe: Any, kind: int) -> None:
    assert probe.ask("proxy_get_buffer_bytes", kind, 0, 9) == (OK, b"")
    assert probe.call("proxy_set_buffer_bytes", kind, 0, 0, *probe.put(b"x")) == BAD_ARGUMENT
    assert probe.ask("proxy_get_buffer_bytes", kind, 0, 9) == (OK, b"")


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 7, 8])
def test_other_missing_buffers_are_not_found(probe: Any, kind: int) -> None:
    assert probe.ask("proxy_get_buffer_bytes", kind, 0, 9)[0] == NOT_FOUND
    assert probe.call("proxy_set_buffer_bytes", kind, 0, 0, *probe.put(b"x")) == NOT_FOUND
    at = probe.cell()
    assert probe.call("proxy_get_buffer_status", kind, at, at + 4) == NOT_FOUND


@pytest.mark.parametrize("kind", [99, 0x80000000, MOST])
def test_an_unknown_buffer_is_a_bad_argument(probe: Any, kind: int) -> None:
    assert probe.ask("proxy_get_buffer_bytes", kind, 0, 9)[0] == BAD_ARGUMENT
    assert probe.call("proxy_set_buffer_bytes", kind, 0, 0, *probe.put(b"x")) == BAD_ARGUMENT
    at = probe.cell()
    assert probe.call("proxy_get_buffer_status", kind, at, at + 4) == BAD_ARGUMENT


# --- maps ----------------------------------------------------------------------------------------


def test_a_map_is_read_whole_and_by_name(probe: Any, headers: HeaderMap) -> None:
    status, wire = probe.ask("proxy_get_header_map_pairs", REQUEST)
    assert status == OK
    assert decode_pairs(wire) == headers.pairs
    for name, value in ((b"A", b"1"), (b"b", b""), (b":path", b"/x")):
        key = probe.put(name)
        assert probe.ask("proxy_get_header_map_value", REQUEST, *key) == (OK, value)
    missing = probe.put(b"c")
    assert probe.ask("proxy_get_header_map_value", REQUEST, *missing)[0] == NOT_FOUND
    at = probe.cell()
    assert probe.call("proxy_get_header_map_size", REQUEST, at) == OK
    assert probe.u32(at) == headers.byte_size


def test_a_map_is_changed(probe: Any, headers: HeaderMap) -> None:
    a, c = probe.put(b"A"), probe.put(b"c")
    assert probe.call("proxy_add_header_map_value", REQUEST, *c, *probe.put(b"3")) == OK
    assert probe.call("proxy_replace_header_map_value", REQUEST, *a, *probe.put(b"4")) == OK
    assert headers.pairs == [(b":path", b"/x"), (b"a", b"4"), (b"b", b""), (b"c", b"3")]
    assert probe.call("proxy_remove_header_map_value", REQUEST, *a) == OK
    assert probe.call("proxy_remove_header_map_value", REQUEST, *a) == OK
    assert headers.pairs == [(b":path", b"/x"), (b"b", b""), (b"c", b"3")]
    wire = probe.put(encode_pairs([(b"X", b"y"), (b":path", b"/")]))
    assert probe.call("proxy_set_header_map_pairs", REQUEST, *wire) == OK
    assert headers.pairs == [(b":path", b"/"), (b"x", b"y")]
    assert probe.call("proxy_set_header_map_pairs", REQUEST, 0, 0) == OK
    assert headers.pairs == []


def test_a_damaged_map_changes_nothing_and_is_logged(probe: Any, headers: HeaderMap) -> None:
    before = list(headers.pairs)
    wire = probe.put(encode_pairs([(b"x", b"y")])[:-1])
    assert probe.call("proxy_set_header_map_pairs", REQUEST, *wire) == BAD_ARGUMENT
    assert headers.pairs == before
    assert [level for level, _ in probe.lines] == [LogLevel.ERROR]


@pytest.mark.parametrize("kind", [*range(8), 99, 0x80000000, MOST])
def test_a_missing_map_is_a_bad_argument(probe: Any, kind: int) -> None:
    key, at = probe.put(b"a"), probe.cell()
    assert probe.ask("proxy_get_header_map_value", kind, *key)[0] == BAD_ARGUMENT
    assert probe.call("proxy_get_header_map_size", kind, at) == BAD_ARGUMENT
    assert probe.call("proxy_add_header_map_value", kind, *key, *key) == BAD_ARGUMENT
    assert probe.call("proxy_replace_header_map_value", kind, *key, *key) == BAD_ARGUMENT
    assert probe.call("proxy_remove_header_map_value", kind, *key) == BAD_ARGUMENT
    assert probe.call("proxy_set_header_map_pairs", kind, 0, 0) == BAD_ARGUMENT
    pairs = probe.ask("proxy_get_header_map_pairs", kind)
    assert pairs == ((OK, b"") if kind < 8 else (BAD_ARGUMENT, b""))


# --- streams and contexts ------------------------------------------------------------------------


def test_a_local_response_is_noted_and_the_first_one_stays(probe: Any) -> None:
    wire = probe.put(encode_pairs([(b"x", b"1"), (b"x", b"2")]))
    details, content = probe.put(b"why"), probe.put(b"body")
    assert probe.call("proxy_send_local_response", 418, *details, *content, *wire, 7) == OK
    assert probe.call("proxy_send_local_response", 500, 0, 0, 0, 0, 0, 0, MOST) == OK
    answer = probe.stream.local_response
    assert (answer.status, answer.details, answer.body) == (418, b"why", b"body")
    assert answer.headers == ((b"x", b"1"), (b"x", b"2"))
    assert answer.grpc_status == 7


def test_a_negative_grpc_status_is_none(probe: Any) -> None:
    assert probe.call("proxy_send_local_response", 200, 0, 0, 0, 0, 0, 0, MOST) == OK
    assert probe.stream.local_response.grpc_status is None


def test_a_local_response_with_damaged_headers_is_refused(probe: Any) -> None:
    wire = probe.put(b"\1\0\0\0")
    call = ("proxy_send_local_response", 200, 0, 0, 0, 0, *wire, MOST)
    assert probe.call(*call) == BAD_ARGUMENT
    assert probe.stream.local_response is None


def test_a_root_context_has_no_stream_to_answer_continue_or_close(probe: Any) -> None:
    answer = ("proxy_send_local_response", 200, 0, 0, 0, 0, 0, 0, MOST)
    assert probe.call(*answer, context=probe.root) == OK
    assert probe.call("proxy_continue_stream", 0, context=probe.root) == BAD_ARGUMENT
    assert probe.call("proxy_close_stream", 0, context=probe.root) == BAD_ARGUMENT


@pytest.mark.parametrize("kind", [0, 1])
def test_http_directions_can_be_continued(probe: Any, kind: int) -> None:
    probe.stream.responding = True
    assert probe.call("proxy_continue_stream", kind) == OK
    assert probe.stream.continued == {StreamType(kind)}


def test_a_response_that_has_not_begun_cannot_be_continued(probe: Any) -> None:
    assert probe.call("proxy_continue_stream", 1) == 2
    assert probe.stream.continued == set()


@pytest.mark.parametrize("kind", [2, 3, 4, 9, MOST])
def test_other_directions_cannot_be_continued(probe: Any, kind: int) -> None:
    assert probe.call("proxy_continue_stream", kind) == BAD_ARGUMENT
    assert probe.stream.continued == set()


def test_every_direction_can_be_closed_and_no_other(probe: Any) -> None:
    for kind in StreamType:
        assert probe.call("proxy_close_stream", kind) == OK
    assert probe.stream.closed == set(StreamType)
    for other in (4, MOST):
        assert probe.call("proxy_close_stream", other) == BAD_ARGUMENT


def test_an_unknown_context_cannot_be_chosen(probe: Any) -> None:
    for unknown in (0, 99, MOST):
        assert probe.call("proxy_set_effective_context", unknown) == BAD_ARGUMENT
    for context in (probe.root, probe.stream):
        assert probe.call("proxy_set_effective_context", context.id) == OK


def test_a_context_that_has_ended_cannot_be_chosen(probe: Any) -> None:
    other = probe.guest.create_stream(probe.root)
    assert probe.call("proxy_set_effective_context", other.id) == OK
    probe.guest.end(other)
    assert probe.call("proxy_set_effective_context", other.id) == BAD_ARGUMENT
