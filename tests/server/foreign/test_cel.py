"""Expressions that guests make, evaluate and delete."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.enums import MapType
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import encode_pairs
from anywasm.server.foreign.cel import MAX_EXPRESSION, MAX_EXPRESSIONS

pytest.importorskip("cel")

NOT_FOUND, BAD_ARGUMENT, SERIALIZATION_FAILURE, INTERNAL_FAILURE = 1, 2, 3, 10


def int64(value: int) -> bytes:
    return struct.pack("<q", value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'text' + 'more'", b"textmore"),
        ("b'\\xff'", b"\xff"),
        ("6 * 7", int64(42)),
        ("-1", int64(-1)),
        ("18446744073709551615u", b"\xff" * 8),
        ("1.5", struct.pack("<d", 1.5)),
        ("1 < 2", b"\1"),
        ("1 > 2", b"\0"),
        ("duration('1.5s')", int64(1_500_000_000)),
        ("timestamp('1970-01-01T00:00:02Z')", int64(2_000_000_000)),
        ("timestamp('9999-01-01T00:00:00Z')", int64(2**63 - 1)),
        ("{'a': 1}", encode_pairs([(b"a", int64(1))])),
        ("['a', 'b']", encode_pairs([(b"a", b""), (b"b", b"")])),
        ("[]", bytes(4)),
        ("{}", bytes(4)),
        ("null", SERIALIZATION_FAILURE),
        ("[null]", SERIALIZATION_FAILURE),
    ],
)
def test_values_are_serialized_as_properties_are(
    caller: Any, expression: str, value: int | bytes
) -> None:
    assert caller.value(expression) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("request.path", b"/shop/book?id=7"),
        ("request.url_path", b"/shop/book"),
        ("request.query", b"id=7"),
        ("request.host + request.method", b"shop.exampleGET"),
        ("request.headers['x-twice']", b"one,two"),
        ("request.headers[':method'] == 'GET' && request.size == 5", b"\1"),
        ("request.time", int64(3_000_001_000)),
        ("request.headers.exists(name, name == 'x-twice')", b"\1"),
        ("has(request.headers.nothing)", b"\0"),
        ("request.headers['nothing']", INTERNAL_FAILURE),
        ("request.nothing", INTERNAL_FAILURE),
        ("request.duration", INTERNAL_FAILURE),
        ("response.code", INTERNAL_FAILURE),
        ("size(response.headers)", int64(0)),
        ("source.address", b"10.0.0.1:4711"),
        ("source.port", int64(4711)),
        ("destination.port", INTERNAL_FAILURE),
        ("connection.mtls", b"\0"),
        ("connection_id", int64(9)),
        ("xds.route_name", b"shop"),
        ("plugin_name + plugin_root_id", b"askerroot"),
        ("route_name", INTERNAL_FAILURE),
        ("mine", b"\xff"),
        ("mine == b'\\xff'", b"\1"),
        ("filter_state['wasm.mine']", b"\xff"),
        ("size(metadata)", int64(0)),
        ("nothing", INTERNAL_FAILURE),
        ("1 / 0", INTERNAL_FAILURE),
        ("nothing()", INTERNAL_FAILURE),
        ("'x'.matches('(')", INTERNAL_FAILURE),
    ],
)
def test_attributes_of_the_stream(caller: Any, expression: str, value: int | bytes) -> None:
    info = caller.stream.info
    info.start_time, info.request_size = 3_000_001_999, 5
    info.source, info.connection_id, info.route_name = ("10.0.0.1", 4711), 9, "shop"
    info.filter_state[b"wasm.mine"] = b"\xff"
    assert caller.value(expression) == value


def test_a_response_is_seen_once_it_is_there(caller: Any) -> None:
    handle = caller.call("expr_create", "response.code >= 500 && response.headers['a'] == '1'")
    assert caller.call("expr_evaluate", handle) == INTERNAL_FAILURE
    caller.stream.info.response_code = 503
    caller.stream.maps[MapType.HTTP_RESPONSE_HEADERS] = HeaderMap([(b"a", b"1")])
    assert caller.call("expr_evaluate", handle) == b"\1"


def test_a_declared_property_is_a_string(caller: Any) -> None:
    caller.stream.info.filter_state[b"wasm.mine"] = b"text"
    assert caller.value("mine == b'text'") == b"\1"
    assert caller.call("declare_property", b"\x0a\x04mine\x18\x01", caller.root) == b""
    assert caller.value("mine == 'text'") == b"\1"


def test_higress_tells_the_route(calling: Callable[..., Any]) -> None:
    caller = calling("higress")
    caller.stream.info.route_name = "shop"
    assert caller.value("route_name == 'shop'") == b"\1"


def test_handles_are_counted_for_each_plugin(calling: Callable[..., Any]) -> None:
    one, other = calling(), calling()
    handles = [one.call("expr_create", text) for text in ("'a'", "'b'")]
    assert handles == [bytes(4), b"\1\0\0\0"]
    assert other.call("expr_evaluate", handles[0]) == NOT_FOUND
    assert other.call("expr_create", "'c'") == bytes(4)
    assert [one.call("expr_evaluate", handle) for handle in handles] == [b"a", b"b"]
    assert one.call("expr_delete", handles[0]) == b""
    assert one.call("expr_evaluate", handles[0]) == NOT_FOUND
    assert one.call("expr_create", "'d'") == b"\2\0\0\0"
    assert other.call("expr_evaluate", bytes(4)) == b"c"


def test_a_stream_uses_what_its_root_has_made(caller: Any) -> None:
    handle = caller.call("expr_create", "request.path", caller.root)
    assert caller.call("expr_evaluate", handle) == b"/shop/book?id=7"
    assert caller.call("expr_evaluate", handle, caller.root) == INTERNAL_FAILURE
    # As in Envoy, the context that was called counts, not the effective one.
    assert caller.call("expr_evaluate", handle, caller.root, caller.stream) == INTERNAL_FAILURE


@pytest.mark.parametrize("handle", [b"", b"abc", bytes(5)])
def test_what_is_no_handle_is_a_bad_argument(caller: Any, handle: bytes) -> None:
    assert caller.call("expr_evaluate", handle) == BAD_ARGUMENT
    assert caller.call("expr_delete", handle) == BAD_ARGUMENT


def test_an_unknown_handle(caller: Any) -> None:
    assert caller.call("expr_evaluate", b"\7\0\0\0") == NOT_FOUND
    assert caller.call("expr_delete", b"\7\0\0\0") == b""


def test_an_expression_is_only_parsed_at_first(caller: Any) -> None:
    assert caller.call("expr_create", "abc") == bytes(4)
    assert caller.call("expr_evaluate", bytes(4)) == INTERNAL_FAILURE
    assert "abc" in caller.lines[-1][1]


@pytest.mark.parametrize("text", [b"", b"1 +", b"(", b"'", b"\xff", b"a\0b", b"a b"])
def test_what_does_not_parse_is_a_bad_argument(caller: Any, text: bytes) -> None:
    assert caller.call("expr_create", text) == BAD_ARGUMENT
    assert caller.lines[-1][1].startswith("expr_create: ")
    assert caller.call("expr_create", "1") == bytes(4)


# --- hostile -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [("(", ")"), ("[", "]"), ("{1:", "}"), ("f(", ")"), ("!", ""), ("-", ""), ("1?1:", "")],
)
def test_nesting_ends_no_process(caller: Any, before: str, after: str) -> None:
    count = (MAX_EXPRESSION - 1) // len(before + after)
    assert caller.value(before * count + "1" + after * count) != NOT_FOUND
    assert caller.value("'alive'") == b"alive"


@pytest.mark.parametrize("more", ["+1", ".a", "[0]", "&&true", "<1"])
def test_chains_end_no_process(caller: Any, more: str) -> None:
    text = "1" + more * ((MAX_EXPRESSION - 1) // len(more))
    assert caller.value(text) != NOT_FOUND
    assert caller.value("'alive'") == b"alive"


def test_length_is_bounded(caller: Any) -> None:
    longest = "'" + "a" * (MAX_EXPRESSION - 2) + "'"
    assert caller.value(longest) == b"a" * (MAX_EXPRESSION - 2)
    assert caller.value(longest + " ") == BAD_ARGUMENT


def test_loops_are_bounded(caller: Any) -> None:
    text = "true"
    for _ in range(2):
        text = f"[1,2].all(x, {text})"
        assert caller.value(text) == b"\1"
    assert caller.value(f"[1,2].all(x, {text})") == BAD_ARGUMENT
    assert caller.value("[1].map //\n(a, [1].filter(b, [1].exists(c, true)))") == BAD_ARGUMENT
    assert caller.value("[1].map(a, [1].existsOne(b, [1].exists_one(c, true)))") == BAD_ARGUMENT


def test_the_number_of_expressions_is_bounded(caller: Any) -> None:
    for _ in range(MAX_EXPRESSIONS):
        assert isinstance(caller.call("expr_create", "1"), bytes)
    assert caller.call("expr_create", "1") == INTERNAL_FAILURE
    assert caller.call("expr_delete", bytes(4)) == b""
    assert isinstance(caller.call("expr_create", "1"), bytes)


# --- a server ------------------------------------------------------------------------------------

FUNCTION = """(module
  (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_call_foreign_function"
    (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $top (mut i32) (i32.const 65536))
  (data (i32.const 1024) "cel")
  (data (i32.const 1040) "expr_create")
  (data (i32.const 1060) "expr_evaluate")
  (data (i32.const 1080) "request.headers['word'] + '!'")
  (func (export "proxy_abi_version_0_2_0"))
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $top)
    (global.set $top (i32.add (global.get $top) (local.get $size))))
  (func (export "proxy_get_id")
    (drop (call $set (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 3))))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (call $call (i32.const 1040) (i32.const 11) (i32.const 1080) (i32.const 29)
          (i32.const 16) (i32.const 20))
      (then unreachable))
    (if (call $call (i32.const 1060) (i32.const 13) (i32.load (i32.const 16))
          (i32.load (i32.const 20)) (i32.const 24) (i32.const 28))
      (then unreachable))
    (drop (call $set (i32.const 1) (i32.const 0) (i32.const 0)
      (i32.load (i32.const 24)) (i32.load (i32.const 28))))
    (i32.const 0)))"""


def test_guests_of_a_server_have_expressions(serving: Any, guest: Any) -> None:
    path = guest.source(FUNCTION)
    plugin = {"name": "cel", "vm_config": {"engine": "wasmtime", "path": str(path)}}
    running = serving([plugin])
    for word in ("hello", "again"):
        answer = running.ask(id="cel", headers={"word": word})
        assert (answer.status, answer.body) == (200, f"{word}!".encode())
