"""Properties: every path, in every phase, and what values look like in a guest's memory."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anywasm.abi.enums import MapType, Status
from anywasm.abi.headers import HeaderMap
from anywasm.abi.pairs import decode_pairs
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.properties import (
    MAX_PATH,
    MAX_STATE,
    MAX_STATE_BYTES,
    get_property,
    set_property,
)
from anywasm.abi.property_paths import FOUND, MAX_FOUND, encode_int, find_property, split_path

NOT_FOUND, INCOMPLETE = 1, 3
GET, SET = "proxy_get_property", "proxy_set_property"
PLUGIN = PluginIdentity("my plugin", root_id="my root", vm_id="my vm")
ALWAYS = {"plugin_name": b"my plugin", "plugin_root_id": b"my root", "plugin_vm_id": b"my vm"}
REQUEST = [
    (b":method", b"POST"),
    (b":path", b"/a/b?q=1&r#f"),
    (b":authority", b"example.test"),
    (b":scheme", b"http"),
    (b"referer", b"there"),
    (b"user-agent", b"agent"),
    (b"x-request-id", b"rid"),
    (b"x", b"1"),
    (b"x", b"2"),
]
RESPONSE = [(b":status", b"200"), (b"content-type", b"text/plain"), (b"grpc-status", b"7")]


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


#: Of a stream whose request headers are there.
OF_REQUEST_HEADERS = {
    "request.path": b"/a/b?q=1&r#f",
    "request.url_path": b"/a/b",
    "request.query": b"q=1&r",
    "request.host": b"example.test",
    "request.scheme": b"http",
    "request.method": b"POST",
    "request.referer": b"there",
    "request.useragent": b"agent",
    "request.id": b"rid",
    "request.headers.x": b"1,2",
    "request.headers.X": b"1,2",
    "request.headers.:path": b"/a/b?q=1&r#f",
}
#: Of every stream.
OF_STREAM = {
    "request.time": u64(1_000_000_007),
    "request.protocol": b"HTTP/1.1",
    "request.size": u64(5),
    "response.flags": u64(0),
    "response.size": u64(6),
    "source.address": b"10.0.0.1:4711",
    "source.port": u64(4711),
    "destination.address": b"[::1]:80",
    "destination.port": u64(80),
    "connection.id": u64(9),
    "connection.mtls": b"\0",
    "connection.requested_server_name": b"",
    "connection_id": u64(9),
    "metadata": b"",
    "xds.route_name": b"route",
    "xds.cluster_name": b"cluster",
    "xds.virtual_host_name": b"vhost",
    "xds.node.id": b"node",
}
#: Once the response has begun.
OF_RESPONSE = {
    "upstream.address": b"10.0.0.2:8080",
    "upstream.port": u64(8080),
    "upstream.local_address": b"10.0.0.3:5000",
    "response.code": u64(200),
    "response.code_details": b"via_upstream",
}
OF_RESPONSE_HEADERS = {
    "response.headers.content-type": b"text/plain",
    "response.grpc_status": u64(7),
}
NEVER = [
    "nonexistent.x", "cluster_name", "route_name", "cluster_metadata", "route_metadata", "node",
    "node.id", "listener_direction", "listener_metadata", "upstream_host_metadata", "source.x",
    "source.address.x", "request.x", "request.path.x", "request.headers.x.y", "response.x",
    "response.code.x", "connection.x", "connection.id.x", "connection.tls_version",
    "connection.termination_details", "xds.x", "xds.node", "connection_id.x", "metadata.x",
    "plugin_name.x", "request.duration", "filter_state.x", "request.headers.missing",
    "response.headers.missing", ".request", "request..path",
]  # fmt: skip
INCOMPLETE_PATHS = [
    "", "request", "response", "source", "destination", "connection", "xds", "filter_state",
]  # fmt: skip


def nul(path: str) -> str:
    return path.replace(".", "\0")


@pytest.fixture
def asker(probing: Callable[..., Any]) -> Any:
    """A probe whose stream is a whole request, so far."""
    probe = probing(PLUGIN)
    probe.stream.maps[MapType.HTTP_REQUEST_HEADERS] = HeaderMap(REQUEST)
    info = probe.stream.info
    info.start_time, info.request_size, info.response_size = 1_000_000_007, 5, 6
    info.source, info.destination, info.connection_id = ("10.0.0.1", 4711), ("::1", 80), 9
    info.route_name, info.cluster_name = "route", "cluster"
    info.virtual_host_name, info.node_id = "vhost", "node"
    return probe


def respond(asker: Any) -> None:
    """The request is over, and the response begins."""
    asker.stream.maps[MapType.HTTP_REQUEST_HEADERS] = None
    asker.stream.maps[MapType.HTTP_RESPONSE_HEADERS] = HeaderMap(RESPONSE)
    info = asker.stream.info
    info.upstream, info.upstream_local = ("10.0.0.2", 8080), ("10.0.0.3", 5000)
    info.response_code, info.response_code_details = 200, "via_upstream"


def answers(asker: Any, paths: Any, context: Any = None) -> dict[str, Any]:
    found = {path: asker.tell(GET, nul(path), context=context) for path in paths}
    return {path: got[0] if isinstance(got, tuple) else got for path, got in found.items()}


def test_what_a_request_tells(asker: Any) -> None:
    known = ALWAYS | OF_REQUEST_HEADERS | OF_STREAM
    assert answers(asker, known) == known
    unknown = [*OF_RESPONSE, *OF_RESPONSE_HEADERS, *NEVER]
    assert answers(asker, unknown) == dict.fromkeys(unknown, NOT_FOUND)
    assert answers(asker, INCOMPLETE_PATHS) == dict.fromkeys(INCOMPLETE_PATHS, INCOMPLETE)


def test_what_a_response_tells(asker: Any) -> None:
    respond(asker)
    known = ALWAYS | OF_STREAM | OF_RESPONSE | OF_RESPONSE_HEADERS
    assert answers(asker, known) == known
    unknown = [*OF_REQUEST_HEADERS, *NEVER]
    assert answers(asker, unknown) == dict.fromkeys(unknown, NOT_FOUND)


def test_what_a_finished_stream_tells(asker: Any) -> None:
    respond(asker)
    info = asker.stream.info
    info.duration, info.tls_version, info.server_name = 12345, "TLSv1.3", "sni"
    info.response_flags = 3
    known = {
        "request.duration": u64(12345),
        "connection.tls_version": b"TLSv1.3",
        "connection.requested_server_name": b"sni",
        "response.flags": u64(3),
    }
    assert answers(asker, known) == known


def test_without_a_stream_only_the_plugin_is_known(asker: Any) -> None:
    assert answers(asker, ALWAYS, asker.root) == ALWAYS
    others = [*OF_REQUEST_HEADERS, *OF_STREAM, *NEVER, "request"]
    assert answers(asker, others, asker.root) == dict.fromkeys(others, NOT_FOUND)
    assert asker.tell(SET, "k", "v", context=asker.root) == NOT_FOUND


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("request\0headers", MapType.HTTP_REQUEST_HEADERS),
        ("response\0headers", MapType.HTTP_RESPONSE_HEADERS),
        ("response\0trailers", MapType.HTTP_RESPONSE_TRAILERS),
    ],
)
def test_a_map_is_told_as_pairs_each_name_once(asker: Any, path: str, kind: MapType) -> None:
    asker.stream.maps[kind] = HeaderMap([(b"a", b"1"), (b"b", b""), (b"a", b"2")])
    (told,) = asker.tell(GET, path)
    assert decode_pairs(told) == [(b"a", b"1,2"), (b"b", b"")]
    assert asker.tell(GET, f"{path}\0a") == (b"1,2",)
    asker.stream.maps[kind] = None
    assert asker.tell(GET, path) == (bytes(4),)
    assert asker.tell(GET, f"{path}\0a") == NOT_FOUND


def test_sizes_count_headers_where_they_are_there(asker: Any) -> None:
    headers = asker.stream.maps[MapType.HTTP_REQUEST_HEADERS]
    total = answers(asker, ["request.total_size", "response.total_size"])
    assert total == {
        "request.total_size": u64(5 + headers.byte_size),
        "response.total_size": u64(6),
    }
    respond(asker)
    assert answers(asker, ["request.total_size"]) == {"request.total_size": u64(5)}


@pytest.mark.parametrize("status", [b"", b"x", b"-1", b"9" * 10, b"9" * 100_000])
def test_a_grpc_status_that_is_none_is_not_found(asker: Any, status: bytes) -> None:
    headers = HeaderMap([(b"grpc-status", status)])
    asker.stream.maps[MapType.HTTP_RESPONSE_HEADERS] = headers
    assert asker.tell(GET, "response\0grpc_status") == NOT_FOUND


def test_one_nul_at_the_end_is_tolerated(asker: Any) -> None:
    assert asker.tell(GET, "plugin_root_id\0") == (b"my root",)
    assert asker.tell(GET, "plugin_root_id\0\0") == NOT_FOUND
    assert asker.tell(GET, "\0") == INCOMPLETE


def test_a_headers_change_shows(asker: Any) -> None:
    asker.tell("proxy_replace_header_map_value", 0, ":path", "/new")
    assert asker.tell(GET, "request\0path") == (b"/new",)
    asker.tell("proxy_remove_header_map_value", 0, ":path")
    assert asker.tell(GET, "request\0path") == NOT_FOUND
    assert asker.tell(GET, "request\0query") == NOT_FOUND


# --- set_property --------------------------------------------------------------------------------


def test_what_is_set_is_read_by_name_and_as_filter_state(asker: Any) -> None:
    assert asker.tell(SET, "my_key", "v1") == 0
    assert asker.tell(GET, "my_key") == (b"v1",)
    assert asker.tell(GET, "filter_state\0wasm.my_key") == (b"v1",)
    assert asker.tell(GET, "wasm.my_key") == NOT_FOUND
    assert asker.tell(SET, "my_key", "") == 0
    assert asker.tell(GET, "my_key") == (b"",)


def test_a_path_of_two_parts_is_kept_but_not_read_back(asker: Any) -> None:
    assert asker.tell(SET, "a\0b", "v") == 0
    assert asker.tell(GET, "a\0b") == NOT_FOUND


def test_nothing_that_is_known_can_be_overwritten(asker: Any) -> None:
    for path in ("plugin_name", "metadata", "connection_id"):
        before = asker.tell(GET, path)
        assert asker.tell(SET, path, "forged") == 0
        assert asker.tell(GET, path) == before


def test_another_stream_does_not_see_it(asker: Any) -> None:
    asker.tell(SET, "k", "v")
    other = asker.guest.create_stream(asker.root)
    assert asker.tell(GET, "k", context=other) == NOT_FOUND


def test_floods_of_properties_end_at_the_limits(asker: Any) -> None:
    assert asker.tell(GET, b"x" * (MAX_PATH + 1)) == NOT_FOUND
    assert asker.tell(SET, b"x" * (MAX_PATH + 1), "v") == NOT_FOUND
    for index in range(MAX_STATE):
        assert set_property(asker.stream, b"k%d" % index, b"v") is None
    assert asker.tell(SET, "one more", "v") == 10
    assert asker.tell(SET, "k0", "changed") == 0
    value = b"x" * (MAX_STATE_BYTES // 8)
    statuses = [set_property(asker.stream, b"k%d" % index, value) for index in range(8)]
    assert statuses == [None] * 7 + [Status.INTERNAL_FAILURE]
    assert asker.tell(GET, "k0")[0] == value


# --- profiles ------------------------------------------------------------------------------------


def test_higress_tells_route_and_cluster_by_short_names(probing: Callable[..., Any]) -> None:
    probe = probing(PluginIdentity("p", profile="higress"))
    assert probe.tell(GET, "route_name") == NOT_FOUND
    probe.stream.info.route_name, probe.stream.info.cluster_name = "route", "cluster"
    assert probe.tell(GET, "route_name") == (b"route",)
    assert probe.tell(GET, "cluster_name") == (b"cluster",)
    assert probe.tell(GET, "cluster_name\0x") == NOT_FOUND
    probe.tell(SET, "route_name", "mine")
    assert probe.tell(GET, "route_name") == (b"mine",)


def test_higress_tells_how_much_memory_the_guest_has(probing: Callable[..., Any]) -> None:
    probe = probing(PluginIdentity("p", profile="higress"))
    size = probe.guest.memory.size
    assert probe.tell(GET, "plugin_vm_memory") == (size.to_bytes(8, "little"),)
    plain = probing(PluginIdentity("p"))
    assert plain.tell(GET, "plugin_vm_memory") == NOT_FOUND


@given(path=st.lists(st.sampled_from(
    [b"request", b"response", b"headers", b"trailers", b"path", b"source", b"address", b"", b"xds",
     b"node", b"id", b"upstream", b"filter_state", b"wasm.k", b"\xff", b"x" * 5000]
), max_size=5).map(b"\0".join) | st.binary(max_size=64))  # fmt: skip
def test_any_path_is_answered(path: bytes) -> None:
    from anywasm.abi.context import RootContext, StreamContext

    guest: Any = None
    stream = StreamContext(guest, 2, RootContext(guest, 1, PLUGIN), 0.0)
    stream.maps[MapType.HTTP_REQUEST_HEADERS] = HeaderMap(REQUEST)
    assert isinstance(get_property(stream, path), bytes | Status)
    assert set_property(stream, path, b"v") in (None, Status.NOT_FOUND)
    assert isinstance(get_property(stream, path), bytes | Status)


@given(st.integers(-(2**63), 2**64 - 1))
def test_numbers_are_64_bits(value: int) -> None:
    assert int.from_bytes(encode_int(value), "little", signed=value < 0) == value


def test_a_path_is_split_at_nuls() -> None:
    assert split_path(b"a\0b\0") == [b"a", b"b"]
    assert split_path(b"") == [b""]


def test_few_paths_are_remembered() -> None:
    """Guests choose them."""
    for index in range(MAX_FOUND + 10):
        find_property(b"name%d" % index)
        assert len(FOUND) <= MAX_FOUND
