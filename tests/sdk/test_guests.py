from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.sdk.guests import guest_bytes

OK, NOT_FOUND, INTERNAL_FAILURE = 0, 1, 10
CONTINUE, PAUSE = 0, 1
LOG_ERROR = 4
REQUEST_BODY, RESPONSE_BODY, CONFIGURATION, CALL_DATA = 0, 1, 7, 8
WHOLE = 0x7FFFFFFF
FAILURES = [1, 2, 6, 10, 12, 99, 0xFFFFFFFF]


def pairs(*items: tuple[bytes, bytes]) -> bytes:
    lengths = b"".join(struct.pack("<II", len(key), len(value)) for key, value in items)
    texts = b"".join(key + b"\0" + value + b"\0" for key, value in items)
    return struct.pack("<I", len(items)) + lengths + texts


def post(host: Any, body: bytes) -> int:
    """Plays a request with a body that comes at once."""
    assert host.guest.call("proxy_on_request_headers", 2, 3, 0) == CONTINUE
    host.buffers[REQUEST_BODY] = body
    action: int = host.guest.call("proxy_on_request_body", 2, len(body), 1)
    return action


def assert_refused(host: Any, code: int, *words: str) -> None:
    """Checks that the one answer is a local response, JSON, and no success was put beside it."""
    ((status, body, headers, grpc_status),) = host.told("respond")
    assert status == code
    error = json.loads(body)["error"]
    assert all(word in error for word in words)
    assert headers == pairs((b"content-type", b"application/json"))
    assert grpc_status == 0xFFFFFFFF
    assert RESPONSE_BODY not in host.buffers


@pytest.mark.parametrize("name", ["function_1", "function_2"])
def test_id_is_written_to_the_call_data(start: Callable[..., Any], name: str) -> None:
    host = start(guest_bytes(name))
    host.guest.call("proxy_get_id")
    number = name[-1].encode()
    assert host.calls == [("set_buffer", CALL_DATA, 0, WHOLE, b"id_" + number)]


# --- function_1 ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (b"name=book1", b"book1"),
        (b"a=b&name=book1", b"book1"),
        (b"name=book1&a=b", b"book1"),
        (b"name=first&name=second", b"first"),
        (b"&&name=book1&&", b"book1"),
        (b"n%61me=book1", b"book1"),
        (b"name=a+b%20c%2Bd", b"a b c+d"),
        (b"name=%C3%A9%e2%82%ac", "é€".encode()),
        (b"name=x=y", b"x=y"),
        (b"name=100%", b"100%"),
        (b"name=%4", b"%4"),
        (b"name=%zz%4g%g4%", b"%zz%4g%g4%"),
        (b"name=%2541", b"%41"),
        (b"name=a%00b%0d%0a%26", b"a\0b\r\n&"),
        (b"name=\xff\xfe", b"\xff\xfe"),
        (b"names=no&Name=no&name2=no&name=yes", b"yes"),
        (b"name=" + b"x" * 100_000, b"x" * 100_000),
    ],
)
def test_function_1_asks_for_the_name_in_the_form(
    start: Callable[..., Any], form: bytes, name: bytes
) -> None:
    host = start(guest_bytes("function_1"))
    host.services = {(b"id_2", b"", name): b"100"}
    assert post(host, form) == CONTINUE
    assert host.buffers[RESPONSE_BODY] == b"There are 100 inventories for " + name + b"."
    assert not host.told("respond")
    assert not host.told("log")


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"name",
        b"name=",
        b"name=&x=1",
        b"=book1",
        b"&",
        b"=",
        b"%",
        b"%6",
        b"nam%65",
        b"x=name",
    ],
)
def test_function_1_refuses_a_request_without_a_name(
    start: Callable[..., Any], form: bytes
) -> None:
    host = start(guest_bytes("function_1"))
    assert post(host, form) == PAUSE
    assert_refused(host, 400, "name", "missing")
    assert not host.told("invoke")


@pytest.mark.parametrize("guest", ["function_1", "function_2"])
def test_functions_refuse_a_request_that_ends_with_its_headers(
    start: Callable[..., Any], guest: str
) -> None:
    host = start(guest_bytes(guest))
    assert host.guest.call("proxy_on_request_headers", 2, 3, 1) == PAUSE
    assert_refused(host, 400, "missing")


def test_function_1_acts_at_the_end_of_the_body_only(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("function_1"))
    host.services = {(b"id_2", b"", b"book1"): b"7"}
    for body in (b"na", b"name=bo"):
        host.buffers[REQUEST_BODY] = body
        assert host.guest.call("proxy_on_request_body", 2, len(body), 0) == PAUSE
        assert not host.calls
    assert post(host, b"name=book1") == CONTINUE
    assert host.buffers[RESPONSE_BODY] == b"There are 7 inventories for book1."


def test_function_1_acts_at_the_trailers_where_there_are_some(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("function_1"))
    host.services = {(b"id_2", b"", b"book1"): b"7"}
    host.buffers[REQUEST_BODY] = b"name=book1"
    assert host.guest.call("proxy_on_request_body", 2, 10, 0) == PAUSE
    assert host.guest.call("proxy_on_request_trailers", 2, 1) == CONTINUE
    assert host.buffers[RESPONSE_BODY] == b"There are 7 inventories for book1."


def test_function_1_passes_an_empty_count_on(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("function_1"))
    host.services = {(b"id_2", b"", b"nokey"): b""}
    assert post(host, b"name=nokey") == CONTINUE
    assert host.buffers[RESPONSE_BODY] == b"There are  inventories for nokey."


@pytest.mark.parametrize("status", FAILURES)
def test_function_1_never_turns_a_failed_call_into_success(
    start: Callable[..., Any], status: int
) -> None:
    host = start(guest_bytes("function_1"))
    host.failing = {"proxy_invoke_service": status}
    assert post(host, b"name=book1") == PAUSE
    assert_refused(host, 502, "id_2")
    text = f"invoking function id_2 failed with status {status}".encode()
    assert host.told("log") == [(LOG_ERROR, text)]


@pytest.mark.parametrize("guest", ["function_1", "function_2"])
def test_functions_fail_when_the_host_does_not_take_the_response(
    start: Callable[..., Any], guest: str
) -> None:
    host = start(guest_bytes(guest))
    host.services = {(b"id_2", b"", b"book1"): b"7"}
    host.failing = {"proxy_set_buffer_bytes": 2}
    assert post(host, b"name=book1") == PAUSE
    assert_refused(host, 500, f"id_{guest[-1]}")
    assert host.told("log") == [(LOG_ERROR, b"writing the response failed with status 2")]


@pytest.mark.parametrize("guest", ["function_1", "function_2"])
def test_functions_fail_when_the_request_cannot_be_read(
    start: Callable[..., Any], guest: str
) -> None:
    host = start(guest_bytes(guest))
    host.failing = {"proxy_get_buffer_bytes": INTERNAL_FAILURE}
    assert post(host, b"name=book1") == PAUSE
    assert_refused(host, 500, f"id_{guest[-1]}")


@pytest.mark.parametrize("guest", ["function_1", "function_2"])
def test_functions_read_an_absent_body_as_an_empty_one(
    start: Callable[..., Any], guest: str
) -> None:
    host = start(guest_bytes(guest))
    host.failing = {"proxy_get_buffer_bytes": NOT_FOUND}
    assert post(host, b"") == PAUSE
    assert_refused(host, 400, "missing")


@pytest.mark.parametrize("guest", ["function_1", "function_2"])
def test_functions_stay_paused_when_the_host_refuses_their_refusal(
    start: Callable[..., Any], guest: str
) -> None:
    host = start(guest_bytes(guest))
    host.failing = {"proxy_send_local_response": 12}
    assert post(host, b"") == PAUSE
    assert host.told("log") == [(LOG_ERROR, b"sending the response failed with status 12")]
    assert RESPONSE_BODY not in host.buffers


def test_function_1_answers_without_memory_for_the_work(
    start_limited: Callable[..., Any],
) -> None:
    # The body fits into the one page, a second buffer of its size does not.
    host = start_limited(guest_bytes("function_1"), memory_limit=65536)
    assert post(host, b"name=" + b"x" * 40_000) == PAUSE
    assert_refused(host, 500, "id_1")


# --- function_2 ----------------------------------------------------------------------------------


def test_function_2_answers_with_the_value_of_the_key(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("function_2"))
    host.state = {(b"state_demo", b"book1"): b"100\0\xff"}
    assert post(host, b"book1") == CONTINUE
    assert host.told("set_buffer") == [(RESPONSE_BODY, 0, WHOLE, b"100\0\xff")]


def test_function_2_takes_the_key_as_it_is(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("function_2"))
    key = b" k+%41&name=\0\n"
    host.state = {(b"state_demo", key): b"v"}
    assert post(host, key) == CONTINUE
    assert host.buffers[RESPONSE_BODY] == b"v"


def test_function_2_sets_an_empty_body_for_a_missing_key(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("function_2"))
    assert post(host, b"nokey") == CONTINUE
    assert host.told("set_buffer") == [(RESPONSE_BODY, 0, WHOLE, b"")]


def test_function_2_refuses_an_empty_key(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("function_2"))
    assert post(host, b"") == PAUSE
    assert_refused(host, 400, "key", "missing")
    assert not host.told("get_state")


@pytest.mark.parametrize("status", FAILURES)
def test_function_2_never_turns_a_failed_store_into_success(
    start: Callable[..., Any], status: int
) -> None:
    host = start(guest_bytes("function_2"))
    host.failing = {"proxy_get_state": status}
    assert post(host, b"book1") == PAUSE
    assert_refused(host, 502, "store", "id_2")
    text = f"reading the state store failed with status {status}".encode()
    assert host.told("log") == [(LOG_ERROR, text)]


def test_function_2_acts_at_the_end_of_the_body_or_at_the_trailers(
    start: Callable[..., Any],
) -> None:
    host = start(guest_bytes("function_2"))
    host.state = {(b"state_demo", b"book1"): b"100"}
    host.buffers[REQUEST_BODY] = b"book1"
    assert host.guest.call("proxy_on_request_body", 2, 5, 0) == PAUSE
    assert not host.calls
    assert host.guest.call("proxy_on_request_trailers", 2, 1) == CONTINUE
    assert host.buffers[RESPONSE_BODY] == b"100"


@pytest.mark.parametrize(
    ("configuration", "store"),
    [
        (b"", b"state_demo"),
        (b"store=redis", b"redis"),
        (b"store=redis\n", b"redis"),
        (b"name=x&store=redis", b"redis"),
        (b"other", b"state_demo"),
        (pairs((b"store", b"redis")), b"redis"),
        (pairs((b"name", b"function2"), (b"store", b"my store"), (b"x", b"")), b"my store"),
        (pairs((b"name", b"function2")), b"state_demo"),
        (pairs(), b"state_demo"),
        (b"\0", b"state_demo"),
    ],
)
def test_function_2_takes_the_store_from_its_configuration(
    start: Callable[..., Any], configuration: bytes, store: bytes
) -> None:
    host = start(guest_bytes("function_2"))
    if configuration:
        host.buffers[CONFIGURATION] = configuration
    assert host.guest.call("proxy_on_configure", 1, len(configuration)) == 1
    post(host, b"k")
    assert host.told("get_state") == [(store, b"k")]


@pytest.mark.parametrize(
    "configuration", [b"store=", b"store", b"store= \n", pairs((b"store", b""))]
)
def test_function_2_refuses_an_empty_store_name(
    start: Callable[..., Any], configuration: bytes
) -> None:
    host = start(guest_bytes("function_2"))
    host.buffers[CONFIGURATION] = configuration
    assert host.guest.call("proxy_on_configure", 1, len(configuration)) == 0
    assert any(
        level == LOG_ERROR and b"'store' is empty" in text for level, text in host.told("log")
    )


def test_function_2_refuses_a_configuration_that_it_cannot_read(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("function_2"))
    host.failing = {"proxy_get_buffer_bytes": 6}
    assert host.guest.call("proxy_on_configure", 1, 5) == 0
    assert [level for level, _ in host.told("log")] == [LOG_ERROR]


def test_function_2_survives_hostile_configurations(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("function_2"))
    good = pairs((b"name", b"function2"), (b"store", b"redis"))
    chance = random.Random(11)
    hostile = [good[:length] for length in range(len(good))]
    hostile += [
        good[:at] + bytes([byte]) + good[at + 1 :]
        for at in range(20)
        for byte in (0xFF, 0x7F, 0x80, chance.randrange(256))
    ]
    hostile += [struct.pack("<I", count) + good[4:] for count in (0xFFFFFFFF, 0x20000000, 3, 100)]
    hostile += [chance.randbytes(chance.randrange(60)) for _ in range(100)]
    for configuration in hostile:
        host.buffers[CONFIGURATION] = configuration
        assert host.guest.call("proxy_on_configure", 1, len(configuration)) in (0, 1)
    host.buffers[CONFIGURATION] = good
    assert host.guest.call("proxy_on_configure", 1, len(good)) == 1
    post(host, b"k")
    assert host.told("get_state") == [(b"redis", b"k")]


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [{}, {"proxy_invoke_service": 10}, {"proxy_get_state": 10}])
@pytest.mark.parametrize("guest", ["function_1", "function_2"])
def test_functions_keep_nothing_of_a_request(
    start: Callable[..., Any], guest: str, failing: dict[str, int]
) -> None:
    host = start(guest_bytes(guest))
    host.failing = failing
    name = b"n" * 1000
    host.services = {(b"id_2", b"", name): b"c" * 1000}
    host.state = {(name, b"name=" + name): b"v" * 1000}
    configuration = host.buffers[CONFIGURATION] = b"store=" + name
    # A block of each request that nobody frees would take six pages and more.
    for _ in range(400):
        if guest == "function_2":
            host.guest.call("proxy_on_configure", 1, len(configuration))
        post(host, b"name=" + name)
    assert host.guest.memory_size() == 65536


# --- filters -------------------------------------------------------------------------------------


def test_add_header_adds_to_the_response(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("add_header"))
    assert host.guest.call("proxy_on_response_headers", 2, 4, 1) == CONTINUE
    assert host.calls == [("add", 2, b"x-anywasm", b"hello")]


def test_add_header_lets_the_response_pass_when_the_host_refuses(start: Callable[..., Any]) -> None:
    host = start(guest_bytes("add_header"))
    host.failing = {"proxy_add_header_map_value": 2}
    assert host.guest.call("proxy_on_response_headers", 2, 4, 0) == CONTINUE
    assert [level for level, _ in host.told("log")] == [LOG_ERROR]


@pytest.mark.parametrize(
    ("direction", "headers", "body", "trailers"),
    [("request", 0, REQUEST_BODY, 1), ("response", 2, RESPONSE_BODY, 3)],
)
def test_wrap_body_changes_whole_bodies_and_trailers(
    start: Callable[..., Any], direction: str, headers: int, body: int, trailers: int
) -> None:
    host = start(guest_bytes("wrap_body"))
    on = f"proxy_on_{direction}_"
    assert host.guest.call(on + "headers", 2, 4, 1) == CONTINUE
    assert not host.calls
    assert host.guest.call(on + "headers", 3, 4, 0) == CONTINUE
    assert host.calls == [("remove", headers, b"content-length")]
    host.buffers[body] = b"x"
    assert host.guest.call(on + "body", 3, 1, 0) == PAUSE
    assert host.buffers[body] == b"x"
    assert host.guest.call(on + "body", 3, 1, 1) == CONTINUE
    assert host.buffers[body] == b"[x]"
    host.buffers[body] = b"y"
    assert host.guest.call(on + "trailers", 4, 1) == CONTINUE
    assert host.buffers[body] == b"[y]"
    assert host.told("replace") == [(trailers, b"x-anywasm", b"trailers")]
