"""Metrics that guests define, with Envoy's rules about what may be done to which."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from anywasm.abi.enums import MetricType, Status

#: Metrics that all guests together may define, by default.
MAX_METRICS = 10_000
#: Characters of a metric's name.
MAX_NAME = 1024

#: Upper bounds of a histogram's buckets (Envoy's, for values in milliseconds).
BUCKETS = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000,
    1800000, 3600000,
)  # fmt: skip

_TYPE_MASK = 3
_U64 = (1 << 64) - 1


@dataclass(eq=False, slots=True)
class GuestMetric:
    """One metric. Whoever defines the same name and type again gets the same one.

    Attributes:
        type: What it is.
        name: Its name, as the guest gave it.
        id: The last id that was given for it.
        value: Of a counter or gauge.
        count: Of a histogram: how many values.
        sum: Of a histogram: their sum.
        buckets: Of a histogram: how many values up to each of `BUCKETS`, and beyond.
    """

    type: MetricType
    name: str
    id: int = 0
    value: int = 0
    count: int = 0
    sum: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))


class GuestMetrics:
    """The metrics of all guests of a process. Thread-safe.

    An id carries the type in its two low bits, as in Envoy, and a new one is given for every
    definition, until there are four for each metric that may be: then the metric's last one, so
    that a guest which defines its metrics in each stream goes on.

    Args:
        max_metrics: How many there may be.
    """

    def __init__(self, max_metrics: int = MAX_METRICS) -> None:
        self._max_metrics = max_metrics
        self._lock = threading.Lock()
        self._metrics: dict[tuple[MetricType, str], GuestMetric] = {}
        self._ids: dict[int, GuestMetric] = {}
        self._next = 1

    def __iter__(self) -> Iterator[GuestMetric]:
        """All metrics, as they are now."""
        with self._lock:
            return iter(tuple(self._metrics.values()))

    def define(self, kind: int, name: str) -> int | Status:
        """The id of a metric.

        Returns:
            BAD_ARGUMENT for an unknown type; INTERNAL_FAILURE for one metric too many, or for a
            name longer than `MAX_NAME`.
        """
        if kind > MetricType.HISTOGRAM:
            return Status.BAD_ARGUMENT
        if len(name) > MAX_NAME:
            return Status.INTERNAL_FAILURE
        known = MetricType(kind)
        with self._lock:
            metric = self._metrics.get((known, name))
            if metric is None:
                if len(self._metrics) >= self._max_metrics:
                    return Status.INTERNAL_FAILURE
                metric = self._metrics[known, name] = GuestMetric(known, name)
            if not metric.id or len(self._ids) < 4 * self._max_metrics:
                metric.id = self._next << 2 | known
                self._next += 1
                self._ids[metric.id] = metric
            return metric.id

    def increment(self, id: int, offset: int) -> Status | None:
        """Add to a counter (more than 0) or a gauge (anything)."""
        with self._lock:
            metric = self._ids.get(id)
            if metric is None:
                return self._unknown(id)
            if metric.type is MetricType.HISTOGRAM:
                return Status.BAD_ARGUMENT
            if metric.type is MetricType.COUNTER and offset <= 0:
                return Status.BAD_ARGUMENT
            metric.value = metric.value + offset & _U64
            return None

    def record(self, id: int, value: int) -> Status | None:
        """Add to a counter, set a gauge, or note a value in a histogram."""
        with self._lock:
            metric = self._ids.get(id)
            if metric is None:
                return Status.NOT_FOUND
            if metric.type is MetricType.COUNTER:
                metric.value = metric.value + value & _U64
            elif metric.type is MetricType.GAUGE:
                metric.value = value
            else:
                metric.count += 1
                metric.sum += value
                metric.buckets[bisect_left(BUCKETS, value)] += 1
            return None

    def get(self, id: int) -> int | Status:
        """The value of a counter or gauge."""
        with self._lock:
            metric = self._ids.get(id)
            if metric is None:
                return self._unknown(id)
            if metric.type is MetricType.HISTOGRAM:
                return Status.BAD_ARGUMENT
            return metric.value

    @staticmethod
    def _unknown(id: int) -> Status:
        # Envoy looks at the type in the id first (recorded in the golden case `edge-shared`).
        known_type = id & _TYPE_MASK < MetricType.HISTOGRAM
        return Status.NOT_FOUND if known_type else Status.BAD_ARGUMENT
