"""Metrics as guests define and change them; the rules are Envoy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.enums import MetricType
from anywasm.abi.metrics import BUCKETS, MAX_NAME, GuestMetrics

COUNTER, GAUGE, HISTOGRAM = 0, 1, 2
U64 = 2**64


@pytest.fixture
def metrics() -> GuestMetrics:
    """The metrics of the probe's host."""
    return GuestMetrics()


@pytest.fixture
def meter(probing: Callable[..., Any], metrics: GuestMetrics) -> Any:
    """A probe that measures."""
    return probing(metrics=metrics)


def define(meter: Any, kind: int, name: str = "m") -> int:
    (number,) = meter.tell("proxy_define_metric", kind, name)
    return int(number)


def test_an_id_tells_the_type_and_is_new_each_time(meter: Any, metrics: GuestMetrics) -> None:
    ids = [define(meter, kind) for kind in (COUNTER, GAUGE, HISTOGRAM, COUNTER)]
    assert [number & 3 for number in ids] == [0, 1, 2, 0]
    assert len(set(ids)) == 4
    assert all(ids)
    assert sorted(metric.type for metric in metrics) == [0, 1, 2]


def test_definitions_of_one_name_and_type_are_one_metric(meter: Any) -> None:
    first, second = define(meter, COUNTER), define(meter, COUNTER)
    other = define(meter, GAUGE)
    assert meter.tell("proxy_increment_metric", first, 5) == 0
    assert meter.tell("proxy_get_metric", second) == (5,)
    assert meter.tell("proxy_get_metric", other) == (0,)


@pytest.mark.parametrize("kind", [3, 4, 99, 0x80000000, 0xFFFFFFFF])
def test_an_unknown_type_is_a_bad_argument(meter: Any, kind: int) -> None:
    assert meter.tell("proxy_define_metric", kind, "m") == 2


@pytest.mark.parametrize("delta", [0, -1, -(2**63)])
def test_a_counter_only_grows(meter: Any, delta: int) -> None:
    counter = define(meter, COUNTER)
    meter.tell("proxy_increment_metric", counter, 5)
    assert meter.tell("proxy_increment_metric", counter, delta % U64) == 2
    assert meter.tell("proxy_record_metric", counter, 100) == 0
    assert meter.tell("proxy_get_metric", counter) == (105,)


def test_a_gauge_is_set_and_moves_both_ways(meter: Any) -> None:
    gauge = define(meter, GAUGE)
    assert meter.tell("proxy_record_metric", gauge, 42) == 0
    assert meter.tell("proxy_increment_metric", gauge, -2 % U64) == 0
    assert meter.tell("proxy_get_metric", gauge) == (40,)
    assert meter.tell("proxy_increment_metric", gauge, -41 % U64) == 0
    assert meter.tell("proxy_get_metric", gauge) == (U64 - 1,)


def test_a_histogram_only_notes(meter: Any, metrics: GuestMetrics) -> None:
    histogram = define(meter, HISTOGRAM)
    values = [0, 1, 2, 3_600_000, U64 - 1]
    for value in values:
        assert meter.tell("proxy_record_metric", histogram, value) == 0
    assert meter.tell("proxy_increment_metric", histogram, 1) == 2
    assert meter.tell("proxy_get_metric", histogram) == 2
    (metric,) = metrics
    assert (metric.type, metric.count, metric.sum) == (MetricType.HISTOGRAM, 5, sum(values))
    assert (metric.buckets[0], metric.buckets[1], metric.buckets[2]) == (1, 1, 1)
    assert (metric.buckets[-2], metric.buckets[-1]) == (1, 1)
    assert len(metric.buckets) == len(BUCKETS) + 1


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 999 << 2, 0xFFFFFFFF])
def test_an_unknown_id_is_not_found_or_of_a_bad_type(meter: Any, number: int) -> None:
    expected = 2 if number & 3 >= 2 else 1
    assert meter.tell("proxy_increment_metric", number, 1) == expected
    assert meter.tell("proxy_get_metric", number) == expected
    assert meter.tell("proxy_record_metric", number, 1) == 1


def test_values_are_64_bits(meter: Any) -> None:
    counter, gauge = define(meter, COUNTER), define(meter, GAUGE)
    assert meter.tell("proxy_increment_metric", counter, 2**63 - 1) == 0
    assert meter.tell("proxy_increment_metric", counter, 2**63 - 1) == 0
    assert meter.tell("proxy_get_metric", counter) == (U64 - 2,)
    assert meter.tell("proxy_record_metric", gauge, U64 - 1) == 0
    assert meter.tell("proxy_get_metric", gauge) == (U64 - 1,)


def test_a_name_is_any_bytes_up_to_a_length(meter: Any, metrics: GuestMetrics) -> None:
    for name in (b"", b"\xff\0\n", b"x" * MAX_NAME):
        assert len(meter.tell("proxy_define_metric", COUNTER, name)) == 1
    assert meter.tell("proxy_define_metric", COUNTER, b"x" * (MAX_NAME + 1)) == 10
    assert [metric.name for metric in metrics][:2] == ["", "\\xff\0\n"]


def test_a_flood_of_metrics_ends_and_what_is_there_goes_on(probing: Callable[..., Any]) -> None:
    meter = probing(metrics=GuestMetrics(3))
    ids = [define(meter, COUNTER, f"m{index}") for index in range(3)]
    assert meter.tell("proxy_define_metric", COUNTER, "one more") == 10
    # Guests that define their metrics in every stream get ids without end.
    again = {define(meter, COUNTER, "m0") for _ in range(50)}
    assert len(again) == 9
    for number in (ids[0], *again):
        assert meter.tell("proxy_increment_metric", number, 1) == 0
    assert meter.tell("proxy_get_metric", ids[0]) == (10,)


def test_guests_of_one_host_share_metrics(
    probing: Callable[..., Any], metrics: GuestMetrics
) -> None:
    one, two = probing(metrics=metrics), probing(metrics=metrics)
    one.tell("proxy_increment_metric", define(one, COUNTER), 1)
    two.tell("proxy_increment_metric", define(two, COUNTER), 1)
    assert [metric.value for metric in metrics] == [2]
