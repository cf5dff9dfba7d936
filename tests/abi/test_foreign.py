"""Foreign functions: built in, of a profile, of third parties, unknown."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from anywasm.abi.context import MAX_INJECTED
from anywasm.abi.enums import LogLevel, Status, StreamType
from anywasm.abi.foreign import (
    MAX_DECLARED,
    MAX_UNCOMPRESSED,
    RegisterForeignFunction,
    built_in_foreign_functions,
    declared_as_string,
    forget_foreign_functions,
)
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.properties import MAX_STATE, MAX_STATE_BYTES
from anywasm.core.hooks import register_plugin, unregister_plugin
from anywasm.core.hookspecs import hookimpl

CALL = "proxy_call_foreign_function"
HIGRESS = PluginIdentity("p", profile="higress")
#: A guest's field 1, of two bytes, and field 2, a true bool.
LAST_PIECE, PIECE = b"\x0a\x02ab\x10\x01", b"\x0a\x02ab"


def test_zlib_both_ways(probe: Any) -> None:
    (packed,) = probe.tell(CALL, "compress", b"some bytes" * 50)
    assert zlib.decompress(packed) == b"some bytes" * 50
    assert probe.tell(CALL, "uncompress", packed) == (b"some bytes" * 50,)
    assert probe.tell(CALL, "uncompress", zlib.compress(b"")) == (b"",)


@pytest.mark.parametrize("data", [b"", b"x", b"\x78\x9c", zlib.compress(b"text")[:-1], b"\0" * 99])
def test_what_is_not_zlib_is_3(probe: Any, data: bytes) -> None:
    assert probe.tell(CALL, "uncompress", data) == 3


def test_a_bomb_is_3(probe: Any) -> None:
    allowed = zlib.compress(bytes(MAX_UNCOMPRESSED))
    bomb = zlib.compress(bytes(MAX_UNCOMPRESSED + 1))
    at = probe.cell()
    # The size alone is asked for: the guest's memory would not hold it.
    args = [*probe.put(b"uncompress"), *probe.put(allowed), 0, at]
    assert probe.call(CALL, *args) == 0
    assert probe.u32(at) == MAX_UNCOMPRESSED
    args = [*probe.put(b"uncompress"), *probe.put(bomb), 0, at]
    assert probe.call(CALL, *args) == 3


@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_hashes(probe: Any, name: str) -> None:
    assert probe.tell(CALL, name, "text") == (hashlib.new(name, b"text").digest(),)


@pytest.mark.parametrize("name", ["", "nothing", "base64_encode", "get_log_level", b"\xff\xfe"])
def test_an_unknown_name_is_not_found(probe: Any, name: str) -> None:
    assert probe.tell(CALL, name, "x") == 1


def test_either_result_address_may_be_0(probe: Any) -> None:
    name, data = probe.put(b"sha256"), probe.put(b"text")
    at = probe.cell()
    assert probe.call(CALL, *name, *data, 0, 0) == 0
    assert probe.allocations == 0
    assert probe.call(CALL, *name, *data, 0, at) == 0
    assert (probe.u32(at), probe.allocations) == (32, 0)
    assert probe.call(CALL, *name, *data, at, 0) == 0
    assert probe.memory.read(probe.u32(at), 32) == hashlib.sha256(b"text").digest()
    assert probe.call(CALL, *name, *data, 2**32 - 1, at) == 6
    assert probe.call(CALL, *name, *data, at, 2**32 - 1) == 6


def test_an_empty_result_is_not_allocated(probe: Any) -> None:
    assert probe.tell(CALL, "clear_route_cache", "") == (b"",)
    assert probe.allocations == 0


@pytest.mark.parametrize(("mode", "status"), [(1, 6), (2, 6)])
def test_an_allocator_that_fails_is_6(probe: Any, mode: int, status: int) -> None:
    probe.allocator(mode)
    assert probe.tell(CALL, "sha256", "text") == status


# --- Envoy's own messages ------------------------------------------------------------------------

MESSAGES = ["sign", "verify_signature", "declare_property", "set_envoy_filter_state"]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_malformed_message_is_a_bad_argument(probe: Any, name: str) -> None:
    for data in (b"abc", b"\x0a", b"\x0a\x05ab", b"\x0b", b"\x08" + b"\xff" * 10):
        assert probe.tell(CALL, name, data) == 2
    assert probe.lines == []


@pytest.mark.parametrize("name", ["sign", "verify_signature"])
def test_there_is_no_cryptography(probe: Any, name: str) -> None:
    assert probe.tell(CALL, name, b"") == 2
    assert probe.tell(CALL, name, b"\x0a\x06sha256\x12\x03key") == 12
    [(level, line)] = probe.lines
    assert (level, name in line, "no cryptography" in line) == (LogLevel.WARN, True, True)


def test_filter_state_is_set(probe: Any) -> None:
    name, state = "set_envoy_filter_state", probe.stream.info.filter_state
    assert probe.tell(CALL, name, b"\x0a\x07envoy.a\x12\x01b\x18\x01") == (b"",)
    assert state == {b"envoy.a": b"b"}
    assert probe.tell("proxy_get_property", b"filter_state\0envoy.a") == (b"b",)
    # Envoy knows only objects of its own; a property of a guest is none.
    for other in (b"", b"\x0a\x03abc\x12\x01b", b"\x0a\x06wasm.a\x12\x01b"):
        assert probe.tell(CALL, name, other) == 1
    assert probe.tell(CALL, name, b"\x0a\x07envoy.a", context=probe.root) == 1
    assert probe.tell(CALL, name, b"\x08\x07") == 2
    state.update({b"%d" % index: b"" for index in range(MAX_STATE - 1)})
    assert probe.tell(CALL, name, b"\x0a\x07envoy.b\x12\x01b") == 10
    assert probe.tell(CALL, name, b"\x0a\x07envoy.a\x12\x01c") == (b"",)
    state[b"0"] = bytes(MAX_STATE_BYTES - 1)
    assert probe.tell(CALL, name, b"\x0a\x07envoy.a\x12\x02cc") == 10
    assert state[b"envoy.a"] == b"c"


def test_properties_are_declared(probing: Callable[..., Any]) -> None:
    probe, name = probing(), "declare_property"
    assert probe.tell(CALL, name, b"\x0a\x01a\x18\x01\x28\x01") == (b"",)
    assert probe.tell(CALL, name, b"\x0a\x01b", context=probe.root) == (b"",)
    assert probe.tell(CALL, name, b"\x0a\x01a") == 2
    assert [declared_as_string(probe.root, key) for key in (b"a", b"b", b"c")] == [
        True,
        False,
        False,
    ]
    assert probing().tell(CALL, name, b"\x0a\x01a") == (b"",)
    assert probe.lines == []
    for refused in (b"\x0a\x01c\x10\x01", b"\x0a\x01c\x18\x02", b"\x0a\x01c\x18\x03"):
        assert probe.tell(CALL, name, refused) == 12
    assert len(probe.lines) == 3
    for index in range(MAX_DECLARED - 2):
        assert probe.tell(CALL, name, b"\x0a\x04%04d" % index) == (b"",)
    assert probe.tell(CALL, name, b"\x0a\x04more") == 10


# --- Higress -------------------------------------------------------------------------------------


def test_higress_functions_are_of_its_profile(probing: Callable[..., Any]) -> None:
    envoy, higress = probing(), probing(HIGRESS)
    names = [name for profile, name in built_in_foreign_functions() if profile == "higress"]
    assert len(names) == 7
    assert {envoy.tell(CALL, name, "") for name in names} == {1}
    size = higress.guest.memory.size
    assert higress.tell(CALL, "get_vm_memory", "") == (size.to_bytes(8, "little"),)
    assert higress.tell(CALL, "get_log_level", "") == ((2).to_bytes(4, "little"),)
    assert higress.tell(CALL, "set_global_max_requests_per_io_cycle", "") == (b"",)


def test_body_is_injected(probing: Callable[..., Any]) -> None:
    probe = probing(HIGRESS)
    name = "inject_encoded_data_to_filter_chain"
    assert probe.tell(CALL, name, PIECE) == (b"",)
    assert probe.tell(CALL, name, LAST_PIECE) == (b"",)
    assert probe.tell(CALL, name, b"") == (b"",)
    response = StreamType.HTTP_RESPONSE
    pieces = ((response, b"ab", False), (response, b"ab", True), (response, b"", False))
    assert probe.stream.injected == pieces
    for bad in (b"\x0a", b"\x08\x01", b"\x0b", b"\xff" * 20):
        assert probe.tell(CALL, name, bad) == 2
    assert probe.tell(CALL, name, PIECE, context=probe.root) == 2
    while len(probe.stream.injected) < MAX_INJECTED:
        assert probe.stream.inject(response, b"", False) is None
    assert probe.tell(CALL, name, PIECE) == 10
    assert len(probe.stream.injected) == MAX_INJECTED


def test_upstream_hosts_are_told_and_chosen(probing: Callable[..., Any]) -> None:
    probe = probing(HIGRESS)
    assert probe.tell(CALL, "get_upstream_hosts", "") == 1
    probe.stream.driver = SimpleNamespace(upstream_hosts=lambda: b"hosts")
    assert probe.tell(CALL, "get_upstream_hosts", "") == (b"hosts",)
    assert probe.tell(CALL, "set_override_upstream_host", "10.0.0.1:80") == (b"",)
    assert probe.stream.override_host == "10.0.0.1:80"
    assert probe.tell(CALL, "get_upstream_hosts", "", context=probe.root) == 1
    assert probe.tell(CALL, "set_override_upstream_host", "x", context=probe.root) == 2


# --- third parties -------------------------------------------------------------------------------


class Functions:
    """What a third party brings."""

    @hookimpl
    def register_foreign_functions(self, register: RegisterForeignFunction) -> None:
        register("acme_reverse", lambda context, data: data[::-1])
        register("acme_name", lambda context, data: context.plugin.name.encode())
        register("acme_status", lambda context, data: Status(data[0]))
        register("acme_higress", lambda context, data: b"here", profile="higress")
        register("sha256", lambda context, data: b"forged")


@pytest.fixture
def acme() -> Iterator[None]:
    """A third party's functions, registered."""
    plugin = Functions()
    register_plugin(plugin)
    forget_foreign_functions()
    yield
    unregister_plugin(plugin)
    forget_foreign_functions()


@pytest.mark.usefixtures("acme")
def test_a_third_party_brings_functions(probing: Callable[..., Any]) -> None:
    probe, higress = probing(), probing(HIGRESS)
    assert probe.tell(CALL, "acme_reverse", "abc") == (b"cba",)
    assert probe.tell(CALL, "acme_name", "") == (b"probe",)
    assert [probe.tell(CALL, "acme_status", bytes([code])) for code in (1, 3, 10)] == [1, 3, 10]
    assert probe.tell(CALL, "acme_higress", "") == 1
    assert higress.tell(CALL, "acme_higress", "") == (b"here",)
    assert probe.tell(CALL, "sha256", "")[0] != b"forged"


def test_what_has_gone_is_not_found(probe: Any) -> None:
    assert probe.tell(CALL, "acme_reverse", "abc") == 1
