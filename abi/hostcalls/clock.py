"""Time."""

from __future__ import annotations

from anywasm.abi.context import Context
from anywasm.abi.table import host_function


@host_function("proxy_get_current_time_nanoseconds", "-> u64")
def get_current_time_nanoseconds(context: Context) -> int:
    """Nanoseconds since the epoch."""
    return context.guest.services.realtime()
