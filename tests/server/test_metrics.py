"""What Prometheus is told: text that it can read, and no more series than there are functions."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families


def samples(text: str, name: str, **labels: str) -> list[float]:
    return [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


@pytest.fixture
def running(managing: Any, guest: Any) -> Any:
    plugins = [
        guest.plugin("hello", guest.answers("hello"), instance_num=2),
        guest.plugin("bad", "unreachable"),
        guest.plugin('odd "id"\\', guest.answers("odd")) | {"name": "odd"},
    ]
    return managing(plugins)


def test_text_parses_without_duplicates(running: Any, tools: Any) -> None:
    for function in ("hello", "bad", 'odd "id"\\', "nobody", None):
        running.ask(id=function)
    answer = tools.ask(running.admin, "/metrics")
    assert answer.values("content-type") == ["text/plain; version=0.0.4; charset=utf-8"]
    families = list(text_string_to_metric_families(answer.body.decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation for family in families)
    assert all(family.type != "unknown" for family in families)
    series = [
        (sample.name, frozenset(sample.labels.items()))
        for family in families
        for sample in family.samples
    ]
    assert len(series) == len(set(series))


def test_requests_are_counted(running: Any) -> None:
    for _ in range(3):
        running.ask(id="hello")
    running.ask(id="bad")
    running.ask(id='odd "id"\\')
    running.ask()
    text = running.metrics()
    requests = "anywasm_function_requests_total"
    assert samples(text, requests, function="hello", code="200") == [3]
    assert samples(text, requests, function="bad", code="500") == [1]
    assert samples(text, requests, function='odd "id"\\', code="200") == [1]
    assert samples(text, requests, function="", code="400") == [1]
    assert samples(text, "anywasm_function_seconds_count", function="hello") == [3]
    assert samples(text, "anywasm_function_seconds_bucket", function="hello", le="+Inf") == [3]


def test_ids_that_nobody_has_make_no_series(running: Any) -> None:
    for number in range(20):
        assert running.ask(id=f"nobody-{number}").status == 404
    text = running.metrics()
    assert "nobody" not in text
    assert samples(text, "anywasm_function_requests_total", code="404") == [20]


def test_ids_of_other_listeners_make_no_series(managing: Any, guest: Any) -> None:
    plugins = [guest.plugin(name, guest.answers(name)) for name in ("shown", "hidden")]
    listener = {"name": "main", "address": "127.0.0.1:0", "plugins": ["shown"]}
    running = managing(plugins, listeners=[listener])
    assert running.ask(id="hidden").status == 404
    assert not samples(running.metrics(), "anywasm_function_requests_total", function="hidden")


def test_plugins_and_listeners(running: Any, tools: Any) -> None:
    client = tools.Client(running.place())
    client.ask(id="hello")
    text = running.metrics()
    assert samples(text, "anywasm_plugin_instances", plugin="hello", state="idle") == [2]
    assert samples(text, "anywasm_plugin_instances", plugin="hello", state="busy") == [0]
    assert samples(text, "anywasm_listener_connections_active", listener="main") == [1]
    assert samples(text, "anywasm_listener_exchanges_total", listener="main") == [1]
    assert samples(text, "anywasm_listener_bytes_sent_total", listener="main")[0] > 0
    client.close()


def test_busy_and_replaced_instances(managing: Any, tools: Any, gate: Any) -> None:
    running = managing(tools.quickstart("wasmtime", instance_num=3), state_stores=tools.GATED)
    client = threading.Thread(target=running.ask, args=("/?a", "id_2"))
    client.start()
    gate.entered()
    text = running.metrics()
    assert samples(text, "anywasm_plugin_instances", plugin="function_2", state="busy") == [1]
    gate.opened.set()
    client.join()


def test_replaced_instances(running: Any, tools: Any) -> None:
    for _ in range(2):
        running.ask(id="bad")
    name = "anywasm_plugin_replaced_instances_total"
    tools.eventually(lambda: samples(running.metrics(), name, plugin="bad") == [2])


def test_reloads_are_counted_and_uninstalled_plugins_gone(running: Any, guest: Any) -> None:
    running.manage("update", guest.plugin("hello", guest.answers("new")))
    text = running.metrics()
    assert samples(text, "anywasm_plugin_reloads_total", plugin="hello") == [1]
    running.manage("uninstall", {"name": "hello"})
    assert not samples(running.metrics(), "anywasm_plugin_reloads_total", plugin="hello")
