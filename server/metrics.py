"""What Prometheus is told."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from anywasm.abi.enums import MetricType
from anywasm.abi.metrics import BUCKETS, GuestMetrics
from anywasm.plugins.failures import CircuitState
from anywasm.plugins.manager import PluginManager
from anywasm.server.http import Listener
from anywasm.server.http.counters import COUNTED
from anywasm.server.stream_times import BOUNDS, StreamTimes

# A time series more per counter, for a standard that Prometheus' text format does not need.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: How the names of those begin that tell when something was or will be.
CIRCUIT_TIMES = "anywasm_plugin_circuit_"
#: Envoy's, for what guests define.
GUEST_PREFIX = "wasmcustom_"

#: All metrics as JSON has them: name, type, help, and the samples by name, labels and value.
Snapshot = list[tuple[str, str, str, list[tuple[str, dict[str, str], float]]]]

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_:]")


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, manager: PluginManager, guest_metrics: GuestMetrics) -> None:
        self._registry = CollectorRegistry()
        self._streams: dict[str, StreamTimes] = {}
        self._requests = Counter(
            "anywasm_function_requests",
            "Function requests by the function's id and the status of the answer.",
            ("function", "code"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "anywasm_function_seconds",
            "Seconds from the whole request to its answer.",
            ("function",),
            buckets=BOUNDS,
            registry=self._registry,
        )
        # A child is looked up once per function and status, not once per request.
        self._counts: dict[tuple[str, int], Callable[[], None]] = {}
        self._times: dict[str, Callable[[float], None]] = {}
        self._listeners: dict[str, Listener] = {}
        self._registry.register(_PluginCollector(manager))
        self._registry.register(_ListenerCollector(self._listeners))
        self._registry.register(_StreamCollector(self._streams))
        self._registry.register(_GuestCollector(guest_metrics))

    def watch(self, name: str, listener: Listener) -> None:
        """Report the connections and bytes of a listener."""
        self._listeners[name] = listener

    def count(self, function: str, code: int, seconds: float) -> None:
        """Note one answered request; `function` is empty where there is none of that id."""
        try:
            self._counts[function, code]()
            self._times[function](seconds)
        except KeyError:
            self._counts[function, code] = self._requests.labels(function, str(code)).inc
            self._times[function] = self._seconds.labels(function).observe
            self.count(function, code, seconds)

    def stream_times(self, listener: str) -> StreamTimes:
        """What notes the streams of a filter listener."""
        times = self._streams[listener] = StreamTimes()
        return times

    def render(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def snapshot(self) -> Snapshot:
        """Everything, to be added to what other processes have."""
        return [
            (
                metric.name,
                metric.type,
                metric.documentation,
                [(sample.name, sample.labels, sample.value) for sample in metric.samples],
            )
            for metric in self._registry.collect()
        ]


class _StreamCollector(Collector):
    def __init__(self, streams: Mapping[str, StreamTimes]) -> None:
        self._streams = streams

    def collect(self) -> Iterator[Metric]:
        seconds = HistogramMetricFamily(
            "anywasm_stream_seconds",
            "Seconds of a filtered stream, by listener and class of the answer's status.",
            labels=("listener", "code_class"),
        )
        for listener, times in self._streams.items():
            for digit, (counts, total) in enumerate(zip(times.counts, times.totals)):
                bounds = map(floatToGoString, (*BOUNDS, math.inf))
                buckets = list(zip(bounds, itertools.accumulate(counts)))
                seconds.add_metric((listener, f"{digit}xx"), buckets, total)
        yield seconds


class _PluginCollector(Collector):
    """Reads the plugins when they are asked for, so that nothing is kept up to date."""

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager

    def collect(self) -> Iterable[Metric]:
        size = GaugeMetricFamily(
            "anywasm_plugin_instances", "Instances of a plugin.", labels=("plugin", "state")
        )
        reloads = CounterMetricFamily(
            "anywasm_plugin_reloads", "Versions swapped in after the first.", labels=("plugin",)
        )
        replaced = CounterMetricFamily(
            "anywasm_plugin_replaced_instances", "Broken instances replaced.", labels=("plugin",)
        )
        failures = CounterMetricFamily(
            "anywasm_plugin_failures",
            "Instances of the version that serves that broke or did not start.",
            labels=("plugin",),
        )
        circuit = GaugeMetricFamily(
            "anywasm_plugin_circuit",
            "1 for the state of a plugin's circuit: open while no instance works.",
            labels=("plugin", "state"),
        )
        since = GaugeMetricFamily(
            "anywasm_plugin_circuit_since_seconds",
            "When that state began, in seconds since the epoch.",
            labels=("plugin",),
        )
        next_try = GaugeMetricFamily(
            "anywasm_plugin_circuit_next_try_seconds",
            "When an instance may be started, in seconds since the epoch; only while open.",
            labels=("plugin",),
        )
        for wrapper in self._manager.list():
            status = wrapper.plugin.circuit
            failures.add_metric((wrapper.name,), status.failures)
            since.add_metric((wrapper.name,), status.since)
            if status.next_try is not None:
                next_try.add_metric((wrapper.name,), status.next_try)
            for state in CircuitState:
                circuit.add_metric((wrapper.name, state.value), status.state is state)
            pool = wrapper.plugin.pool
            idle, all_ = pool.idle, len(pool.slots)
            size.add_metric((wrapper.name, "idle"), idle)
            size.add_metric((wrapper.name, "busy"), max(0, all_ - idle))
            reloads.add_metric((wrapper.name,), wrapper.reloads)
            replaced.add_metric((wrapper.name,), pool.replaced)
        live = GaugeMetricFamily(
            "anywasm_live_guests", "Guests that are not freed, draining ones among them."
        )
        live.add_metric((), self._manager.live_guests)
        return (live, size, reloads, replaced, failures, circuit, since, next_try)


class _GuestCollector(Collector):
    """What guests measure, under Envoy's prefix."""

    def __init__(self, metrics: GuestMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        taken: set[str] = set()
        for metric in self._metrics:
            name = GUEST_PREFIX + _NOT_IN_NAMES.sub("_", metric.name)
            if name in taken:
                continue  # two names of guests that differ in what Prometheus does not know
            taken.add(name)
            help_ = f"Defined by a guest as {metric.name}."
            if metric.type is MetricType.COUNTER:
                yield CounterMetricFamily(name, help_, value=metric.value)
            elif metric.type is MetricType.GAUGE:
                yield GaugeMetricFamily(name, help_, value=metric.value)
            else:
                total = 0
                buckets: list[tuple[str, float]] = []
                for bound, count in zip((*BUCKETS, "+Inf"), metric.buckets):
                    total += count
                    buckets.append((str(bound), total))
                yield HistogramMetricFamily(name, help_, buckets=buckets, sum_value=metric.sum)


class _ListenerCollector(Collector):
    def __init__(self, listeners: Mapping[str, Listener]) -> None:
        self._listeners = listeners

    def collect(self) -> Iterator[Metric]:
        labels = ("listener",)
        active = GaugeMetricFamily(
            "anywasm_listener_connections_active", "Connections open now.", labels=labels
        )
        for name, listener in self._listeners.items():
            active.add_metric((name,), listener.connections_active)
        yield active
        counters = {name: listener.counters for name, listener in self._listeners.items()}
        for field in COUNTED:
            total = CounterMetricFamily(
                f"anywasm_listener_{field}",
                f"{field.replace('_', ' ').capitalize()} since the start.",
                labels=labels,
            )
            for name, counted in counters.items():
                total.add_metric((name,), getattr(counted, field))
            yield total
