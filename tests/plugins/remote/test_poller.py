"""Newer modules at a URL are taken up while a plugin serves, and bad ones are not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anywasm.plugins.config import PluginConfig
from anywasm.plugins.poller import PluginPoller


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def poller(wasmtime_stage: Any) -> Iterator[PluginPoller]:
    made = PluginPoller(wasmtime_stage.manager)
    made.start()
    yield made
    made.close()


def test_a_newer_module_is_taken_up(
    wasmtime_stage: Any, poller: PluginPoller, web: Any, make_guest: Any
) -> None:
    stage = wasmtime_stage
    served = {"body": make_guest(default="a"), "status": 200}
    server = web(lambda _: (served["status"], {}, served["body"]))

    def config(interval: str) -> PluginConfig:
        fetch = {"interval": interval, "retries": 0}
        return PluginConfig.model_validate(
            {"name": "p", "vm_config": {"url": server.url, "fetch": fetch}}
        )

    stage.manager.add(config("20ms"))
    wrapper = stage.manager.get("p")
    assert stage.ask().body == b"ok"
    served["body"] = make_guest(default="l")
    until(lambda: stage.ask().body == b"local")
    assert wrapper.reloads == 1
    for broken in ({"body": b"\0asm of no kind"}, {"status": 500}):
        served.update(broken)
        until(lambda: wrapper.last_error is not None)
        assert stage.ask().body == b"local"
        served.update({"body": make_guest(default="l"), "status": 200})
        until(lambda: wrapper.last_error is None)
        assert wrapper.plugin.circuit.state == "closed"
    # Another configuration, another interval: none.
    wrapper.update(config("0s"))
    until(lambda: not poller._due)
    stage.manager.uninstall("p")
    asked = len(server.requests)
    time.sleep(0.1)
    assert len(server.requests) == asked
