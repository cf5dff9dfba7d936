"""What several workers have counted, as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from anywasm.server.metrics import CIRCUIT_TIMES, GUEST_PREFIX, Snapshot

_Labels = tuple[tuple[str, str], ...]
#: What is summed, by the name and the labels of each sample.
_Samples = dict[tuple[str, _Labels], float]


class Totals:
    """Adds up the metrics of workers that serve, and of those that have ended.

    Counters and histograms never go back: what a worker was last heard to have counted stays when
    it ends. Gauges are those of the workers that serve, added up, but for points in time and what
    guests define, which may be anything: of these each worker has its own, with the label `worker`.
    """

    def __init__(self) -> None:
        self._last: dict[int, Snapshot] = {}
        self._ended: _Sum = _Sum()

    def hear(self, key: int, snapshot: Snapshot) -> None:
        """Note what the worker of that key has counted until now."""
        self._last[key] = snapshot

    def end(self, key: int) -> None:
        """The worker of that key counts no more."""
        snapshot = self._last.pop(key, None)
        if snapshot is not None:
            self._ended.add(snapshot, gauges=False)

    def render(self, serving: Mapping[int, int], own: Iterable[Metric]) -> bytes:
        """Everything, in Prometheus' text format.

        Args:
            serving: The number of each worker that serves, by its key.
            own: What the supervisor has measured itself.
        """
        total = _Sum()
        total.join(self._ended)
        for key, snapshot in self._last.items():
            total.add(snapshot, gauges=key in serving, worker=serving.get(key))
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Given([*own, *total.metrics()]))
        return generate_latest(registry)


class _Sum:
    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str, _Samples]] = {}

    def add(self, snapshot: Snapshot, *, gauges: bool, worker: int | None = None) -> None:
        for name, kind, help_, samples in snapshot:
            if kind == "gauge" and not gauges:
                continue
            label = {}
            if kind == "gauge" and name.startswith((GUEST_PREFIX, CIRCUIT_TIMES)):
                label = {"worker": str(worker)}
            summed = self._samples(name, kind, help_)
            for sample, labels, value in samples:
                key = sample, tuple((labels | label).items())
                summed[key] = summed.get(key, 0.0) + value

    def join(self, other: _Sum) -> None:
        for name, (kind, help_, samples) in other._families.items():
            self._samples(name, kind, help_).update(samples)

    def _samples(self, name: str, kind: str, help_: str) -> _Samples:
        known = self._families.setdefault(name, (kind, help_, {}))
        # Guests of two versions may define one name differently; the first definition counts.
        return known[2] if known[0] == kind else {}

    def metrics(self) -> Iterable[Metric]:
        for name, (kind, help_, samples) in self._families.items():
            metric = Metric(name, help_, kind)
            for (sample, labels), value in samples.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric


class _Given(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics
