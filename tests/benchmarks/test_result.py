"""Figures as they are summed up and shown."""

from __future__ import annotations

import pytest

from anywasm.benchmarks.result import Result, Run, ratio, show, summarize


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0.00 ns"),
        (1.234e-9, "s", "1.23 ns"),
        (77.7e-9, "s", "77.7 ns"),
        (0.000123, "s", "123 us"),
        (2.5, "s", "2.50 s"),
        (512, "bytes", "512 B"),
        (60 * 1024 * 1024, "bytes", "60.0 MiB"),
        (5194.2, "requests/s", "5194 requests/s"),
    ],
)
def test_values_have_three_digits_and_a_unit(value: float, unit: str, text: str) -> None:
    assert show(value, unit) == text


def test_rounds_are_summed_up() -> None:
    result = summarize("abi", "case", "null", "s", [4.0, 1.0, 3.0, 2.0, 5.0])
    assert (result.median, result.iqr, result.best, result.rounds) == (3.0, 2.0, 1.0, 5)
    single = summarize("abi", "case", "null", "requests/s", [7.0])
    assert (single.median, single.iqr, single.best, single.rounds) == (7.0, 0.0, 7.0, 1)


def test_best_comes_first_and_others_are_so_many_times_worse() -> None:
    def result(subject: str, unit: str, median: float) -> Result:
        return Result("http", "case", subject, unit, median, 0.0, median, 1)

    slow, fast = result("a", "s", 3.0), result("b", "s", 1.5)
    few, many = result("a", "requests/s", 100.0), result("b", "requests/s", 400.0)
    run = Run({}, {}, [slow, fast, few, many])
    assert list(run.cases().values()) == [[fast, slow], [many, few]]
    assert (ratio(slow, fast), ratio(few, many), ratio(fast, fast)) == (2.0, 4.0, 1.0)
