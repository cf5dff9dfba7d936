"""Guests' log lines, in the host's log."""

from __future__ import annotations

import logging

from anywasm.abi.enums import LogLevel

_log = logging.getLogger("anywasm.guest")

_LEVELS = {
    LogLevel.TRACE: 5,
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARN: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
    LogLevel.CRITICAL: logging.CRITICAL,
}

#: What guests are told and filtered by, from what the host logs.
FROM_NAME = {
    "debug": LogLevel.DEBUG,
    "info": LogLevel.INFO,
    "warning": LogLevel.WARN,
    "error": LogLevel.ERROR,
}


def log_guest(level: LogLevel, plugin: str, message: str) -> None:
    """A `LogSink` over the logger `anywasm.guest`; records carry the plugin as `plugin`."""
    _log.log(_LEVELS[level], "%s: %s", plugin, message, extra={"plugin": plugin})
