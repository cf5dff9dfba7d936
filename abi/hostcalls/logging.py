"""Logging."""

from __future__ import annotations

from anywasm.abi.context import Context
from anywasm.abi.enums import LogLevel, Status
from anywasm.abi.table import Phase, host_function

#: Bytes of a log line that are kept.
MAX_LINE = 1024 * 1024


@host_function("proxy_log", "u32 data", phases=Phase.START | Phase.ALLOCATION)
def log(context: Context, level: int, message: bytes) -> Status | None:
    """Log a line at a level from 0 (trace) to 5 (critical); `MAX_LINE` bytes of it are kept."""
    if level > LogLevel.CRITICAL:
        return Status.BAD_ARGUMENT
    if level >= context.guest.services.log_level:
        context.log(LogLevel(level), message[:MAX_LINE].decode(errors="backslashreplace"))
    return None


@host_function("proxy_get_log_level", "-> u32", versions=("0.2.1",))
def get_log_level(context: Context) -> int:
    """The least severe level that the host keeps."""
    return context.guest.services.log_level
