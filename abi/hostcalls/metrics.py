"""Metrics."""

from __future__ import annotations

from anywasm.abi.context import Context
from anywasm.abi.enums import Status
from anywasm.abi.table import host_function


@host_function("proxy_define_metric", "u32 data -> u32")
def define_metric(context: Context, kind: int, name: bytes) -> int | Status:
    """Define a metric; the same name and type is the same metric."""
    return context.guest.services.metrics.define(kind, name.decode(errors="backslashreplace"))


@host_function("proxy_increment_metric", "u32 i64")
def increment_metric(context: Context, metric: int, offset: int) -> Status | None:
    """Add to a counter or gauge."""
    return context.guest.services.metrics.increment(metric, offset)


@host_function("proxy_record_metric", "u32 u64")
def record_metric(context: Context, metric: int, value: int) -> Status | None:
    """Add to a counter, set a gauge, or note a value in a histogram."""
    return context.guest.services.metrics.record(metric, value)


@host_function("proxy_get_metric", "u32 -> u64")
def get_metric(context: Context, metric: int) -> int | Status:
    """The value of a counter or gauge."""
    return context.guest.services.metrics.get(metric)
