from __future__ import annotations

from anywasm.benchmarks.chart import bar_chart
from anywasm.benchmarks.result import Result


def test_the_figure_of_a_wide_spread_is_drawn_too() -> None:
    wide = Result("abi", "stream", "null", "s", median=249e-6, iqr=5.0, best=2e-4, rounds=5)
    narrow = Result("abi", "stream", "wasm3", "s", median=300e-6, iqr=1e-6, best=2e-4, rounds=5)
    svg = bar_chart("abi", [("stream", [wide, narrow])], ["null", "wasm3"]).svg
    assert "249 us" in svg
    assert "300 us" in svg
