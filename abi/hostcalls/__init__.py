"""The host functions, by subject. Importing this package fills the table."""

from anywasm.abi.hostcalls import (
    buffers,
    calls,
    clock,
    contexts,
    foreign,
    layotto,
    logging,
    maps,
    metrics,
    properties,
    shared,
    streams,
    timers,
)

__all__ = [
    "buffers",
    "calls",
    "clock",
    "contexts",
    "foreign",
    "layotto",
    "logging",
    "maps",
    "metrics",
    "properties",
    "shared",
    "streams",
    "timers",
]
