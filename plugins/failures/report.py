"""Tells what broke guests, away from the threads that serve."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from anywasm.plugins.failures.failure import Failure
from anywasm.plugins.failures.source_lines import source_lines

_log = logging.getLogger("anywasm.plugins")

_reports = ThreadPoolExecutor(1, "anywasm-report")


class FailureLog:
    """The failures of one version of a plugin, written to the log with lines of its source.

    Args:
        plugin: The plugin's name.
        wasm: Its module.
    """

    def __init__(self, plugin: str, wasm: bytes) -> None:
        self._plugin = plugin
        self._wasm = wasm
        self._busy = False

    def write(self, failure: Failure, placed: Callable[[Failure, Failure], None]) -> None:
        """Log a failure soon; while one is being looked up, others are only counted by the pool.

        Args:
            failure: What happened.
            placed: Called in another thread with the failure as it was and as it is told.
        """
        if self._busy:
            return
        self._busy = True
        _reports.submit(self._write, failure, placed)

    def _write(self, failure: Failure, placed: Callable[[Failure, Failure], None]) -> None:
        try:
            offsets = {frame.offset for frame in failure.frames if frame.offset is not None}
            lines = source_lines(self._wasm, offsets)
            frames = tuple(
                frame if frame.offset is None else frame._replace(place=lines.get(frame.offset))
                for frame in failure.frames
            )
            told = replace(failure, frames=frames)
            placed(failure, told)
            _log.error("plugin %s: an instance failed: %s", self._plugin, told)
        finally:
            self._busy = False
