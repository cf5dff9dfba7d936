"""Plugins that may use less than the host offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.plugin import PluginIdentity

CALLBACKS = frozenset({"proxy_on_configure", "proxy_on_request_headers"})


def test_a_function_that_is_not_allowed_fails_and_is_logged(
    probing: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    identity = PluginIdentity("p", allowed_capabilities=frozenset({"proxy_log", "fd_write"}))
    probe = probing(identity)
    assert probe.tell("proxy_log", 2, "allowed") == 0
    for name, values in (
        ("proxy_get_property", ("plugin_name",)),
        ("proxy_set_shared_data", ("k", "v", 0)),
        ("proxy_done", ()),
    ):
        assert probe.tell(name, *values) == 10
        assert f"Attempted call to restricted proxy-wasm capability: {name}" in caplog.text
    assert probe.guest.services.shared_data.get("", b"k") is None
    assert [line for _, line in probe.lines] == ["allowed"]


def test_wasi_that_is_not_allowed_is_notcapable(probing: Callable[..., Any]) -> None:
    identity = PluginIdentity("p", allowed_capabilities=frozenset({"fd_write"}))
    probe = probing(identity)
    assert probe.call("random_get", 16, 8) == 76
    assert probe.memory.read(16, 8) == bytes(8)
    assert probe.call("clock_time_get", 0, 0, 16) == 76
    probe.call("proc_exit", 1)  # it has no result to refuse with
    assert probe.call("fd_write", 1, 16, 0, 24) == 0


def test_callbacks_that_are_not_allowed_are_not_called(scripted: Callable[..., Any]) -> None:
    allowed = CALLBACKS | {"proxy_log", "proxy_get_buffer_bytes"}
    guest = scripted("configure proxy_log 2 x", allowed_capabilities=allowed)
    root = guest.guest.create_root(guest.identity)
    stream = guest.guest.create_stream(root)
    guest.guest.call(stream, guest.guest.callbacks.on_request_headers, stream.id, 0, 1)
    guest.guest.close()
    assert guest.said() == ["configure 1 23", "x", "proxy_log = 0", "request_headers 2 0 1"]
    assert guest.guest.callbacks.on_done is None


def test_nothing_allowed_is_a_guest_that_does_nothing(scripted: Callable[..., Any]) -> None:
    guest = scripted("configure proxy_log 2 x", allowed_capabilities=frozenset())
    guest.guest.end(guest.guest.create_stream(guest.start()))
    guest.guest.close()
    assert guest.said() == []


def test_memory_is_never_a_matter_of_capabilities(scripted: Callable[..., Any]) -> None:
    guest = scripted(
        "configure proxy_get_property plugin_name",
        allowed_capabilities=frozenset(
            {"proxy_on_configure", "proxy_log", "proxy_get_buffer_bytes", "proxy_get_property"}
        ),
    )
    guest.guest.create_root(guest.identity)
    assert guest.said()[-1] == "proxy_get_property = 0 [scripted]"
