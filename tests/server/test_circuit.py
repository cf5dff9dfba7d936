"""What operators see of plugins whose guests break, and what their requests get meanwhile."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anywasm.plugins import filter_pool
from anywasm.sdk.build import build_guest

TRAP = "(unreachable)"

SOURCE = """#include "proxywasm.h"

__attribute__((noinline)) static uint32_t too_deep(volatile uint32_t *depth) {
    if (*depth == 0)
        __builtin_trap();
    *depth -= 1;
    return too_deep(depth) + 1;
}

pw_action proxy_on_request_headers(uint32_t context, uint32_t count, bool end_of_stream) {
    (void)context, (void)end_of_stream;
    uint32_t depth = 1;
    return too_deep(&depth) + count > 0 ? PW_CONTINUE : PW_PAUSE;
}
"""


def listed(running: Any, name: str) -> Any:
    plugins = running.manage("list").json["plugins"]
    return next(item for item in plugins if item["name"] == name)


def chain(path: Path, name: str = "f", **plugin: Any) -> dict[str, Any]:
    """Settings of a server with one filter in front of a direct response."""
    listener = {
        "name": "main",
        "address": "127.0.0.1:0",
        "filters": [name],
        "routes": [{"direct_response": {"body": "behind"}}],
    }
    plugins = [{"name": name, "vm_config": {"path": str(path)}, **plugin}]
    return {"plugins": plugins, "listeners": [listener]}


def test_backtrace_with_lines_for_operators_only(
    managing: Any, tools: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "deep.c"
    source.write_text(SOURCE)
    module = build_guest(source, debug=True)
    running = managing(**chain(module, failure_policy="fail_closed"))
    answer = running.ask()
    assert (answer.status, answer.body) == (503, b"")
    assert "too_deep" not in str(answer.headers)

    def failure() -> Any:
        return listed(running, "f")["circuit"]["last_failure"]

    tools.eventually(lambda: "deep.c" in json.dumps(failure()))
    told = failure()
    assert told["phase"] == "proxy_on_request_headers"
    assert "unreachable" in told["error"]
    innermost, *_, outermost = told["backtrace"]
    lines = SOURCE.splitlines()
    assert innermost.startswith("too_deep (")
    assert innermost.endswith(f"deep.c:{lines.index('        __builtin_trap();') + 1})")
    assert outermost.startswith("proxy_on_request_headers (")
    tools.eventually(lambda: f"at {innermost}" in caplog.text)


def test_every_engine_tells_the_phase(managing: Any, guest: Any, engine: str) -> None:
    running = managing([guest.plugin("bad", TRAP, engine)])
    assert running.ask(id="bad").status == 500
    circuit = listed(running, "bad")["circuit"]
    assert circuit["failures"] == 1
    assert circuit["last_failure"]["phase"] == "proxy_on_request_headers"


def test_circuit_of_a_filter_in_metrics(managing: Any, guest: Any) -> None:
    backoff = {"base": 60, "max": 60}
    running = managing(**chain(guest("f", TRAP), reload_backoff=backoff))
    closed = 'anywasm_plugin_circuit{plugin="f",state="closed"} '
    opened = 'anywasm_plugin_circuit{plugin="f",state="open"} '
    assert f"{closed}1.0" in running.metrics()
    assert listed(running, "f")["circuit"] == {
        "state": "closed",
        "since": None,
        "failure_policy": "fail_reload",
        "failures": 0,
        "next_try": None,
        "last_failure": None,
    }
    assert [running.ask().status for _ in range(3)] == [503, 503, 503]
    metrics = running.metrics()
    assert f"{closed}0.0" in metrics
    assert f"{opened}1.0" in metrics
    assert 'anywasm_plugin_failures_total{plugin="f"} 2.0' in metrics
    assert 'anywasm_plugin_circuit_next_try_seconds{plugin="f"} ' in metrics
    circuit = listed(running, "f")["circuit"]
    assert circuit["state"] == "open"
    assert 40 < circuit["next_try"] - circuit["since"] < 80


def test_filter_that_comes_back_is_taken_up_by_its_listener(managing: Any, guest: Any) -> None:
    settings = chain(guest("f", guest.responds(200, b"", "first")))
    running = managing(**settings)
    assert running.ask().body == b"first"
    assert running.manage("uninstall", {"name": "f"}).status == 200
    assert running.ask().status == 503
    second = settings["plugins"][0] | {
        "vm_config": {"path": str(guest("f", guest.responds(200, b"", "second")))}
    }
    assert running.manage("install", second).status == 200
    assert running.ask().body == b"second"


def test_requests_wait_for_an_instance_that_is_started_elsewhere(
    managing: Any, guest: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start in another thread loses no request, and holds up nobody else."""
    monkeypatch.setattr(filter_pool, "CHEAP_START", 0.0)
    # Traps for requests with many headers.
    many = "(if (i32.gt_u (local.get 1) (i32.const 30)) (then unreachable)) (i32.const 0)"
    settings = chain(guest("f", many), timeouts={"lease": 20})
    running = managing(**settings)
    pool = running.server.manager.get("f").plugin.filters
    make = pool._make
    may_start = threading.Event()
    starting = threading.Event()

    def make_slowly() -> Any:
        starting.set()
        assert may_start.wait(20)
        return make()

    monkeypatch.setattr(pool, "_make", make_slowly)
    assert running.ask(headers={f"x-{number}": "" for number in range(30)}).status == 503
    answers: list[Any] = []
    bodies: list[bytes | None] = [None, b"0123456789", None]
    threads = [
        threading.Thread(target=lambda body=body: answers.append(running.ask(body=body)))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    assert starting.wait(20)
    # The loop is free meanwhile.
    assert listed(running, "f")["circuit"]["state"] == "half_open"
    listener = running.server.listeners["main"]
    tools.eventually(lambda: listener.exchanges_active == 3)
    gone = tools.Client(running.place())
    gone.socket.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    tools.eventually(lambda: listener.exchanges_active == 4)
    gone.close()
    tools.eventually(lambda: listener.exchanges_active == 3)
    may_start.set()
    for thread in threads:
        thread.join()
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"behind")] * 3
    assert pool.replaced == 1
    assert all(not slot.streams for slot in pool.slots)


def test_requests_wait_only_so_long(
    managing: Any, guest: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_pool, "CHEAP_START", 0.0)
    running = managing(**chain(guest("f", TRAP), timeouts={"lease": 0.1}))
    pool = running.server.manager.get("f").plugin.filters
    make: Callable[[], Any] = pool._make
    may_start = threading.Event()

    def make_slowly() -> Any:
        assert may_start.wait(20)
        return make()

    monkeypatch.setattr(pool, "_make", make_slowly)
    assert running.ask().status == 503
    assert running.ask(headers={"x": "1"}).status == 503
    assert pool.circuit.state == "half_open"
    may_start.set()
