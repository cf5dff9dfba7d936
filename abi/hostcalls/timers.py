"""Ticks."""

from __future__ import annotations

from anywasm.abi.context import Context, RootContext
from anywasm.abi.enums import Status
from anywasm.abi.table import host_function


@host_function("proxy_set_tick_period_milliseconds", "u32")
def set_tick_period_milliseconds(context: Context, period: int) -> Status | None:
    """Have `proxy_on_tick` called over and over; 0 stops it."""
    root = context.root
    return root.ticker.set(period) if isinstance(root, RootContext) else Status.BAD_ARGUMENT
