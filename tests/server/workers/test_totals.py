"""What is added up over workers, and what is not."""

from __future__ import annotations

from anywasm.server.metrics import Snapshot
from anywasm.server.workers.totals import Totals


def snapshot(since: float) -> Snapshot:
    state, time = "anywasm_plugin_circuit", "anywasm_plugin_circuit_since_seconds"
    labels = {"plugin": "f"}
    return [
        (state, "gauge", "", [(state, labels | {"state": "open"}, 1.0)]),
        (time, "gauge", "", [(time, labels, since)]),
    ]


def test_points_in_time_are_not_added_up() -> None:
    totals = Totals()
    totals.hear(10, snapshot(5.0))
    totals.hear(11, snapshot(7.0))
    lines = totals.render({10: 0, 11: 1}, []).decode().splitlines()
    assert {line for line in lines if not line.startswith("#")} == {
        'anywasm_plugin_circuit{plugin="f",state="open"} 2.0',
        'anywasm_plugin_circuit_since_seconds{plugin="f",worker="0"} 5.0',
        'anywasm_plugin_circuit_since_seconds{plugin="f",worker="1"} 7.0',
    }
