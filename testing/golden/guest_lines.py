"""What guests log while a case runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType

from anywasm.testing.golden.case import LogLine

_GUESTS = logging.getLogger("anywasm.guest")
#: Envoy's names, as in recordings.
_LEVELS = {
    logging.DEBUG: "debug",
    logging.INFO: "info",
    logging.WARNING: "warning",
    logging.ERROR: "error",
    logging.CRITICAL: "critical",
}


class GuestLines(logging.Handler):
    """Takes guests' lines out of the process's log, while it is entered. Any thread may log."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[LogLine] = []
        self._changed = threading.Condition()
        self._before = (_GUESTS.level, _GUESTS.propagate)

    def __enter__(self) -> GuestLines:
        self._before = (_GUESTS.level, _GUESTS.propagate)
        _GUESTS.setLevel(logging.DEBUG)
        _GUESTS.propagate = False
        _GUESTS.addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _GUESTS.removeHandler(self)
        _GUESTS.setLevel(self._before[0])
        _GUESTS.propagate = self._before[1]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line, without the plugin's name in front."""
        message = record.getMessage()
        plugin = getattr(record, "plugin", None)
        if plugin is not None:
            message = message.removeprefix(f"{plugin}: ")
        with self._changed:
            self._lines.append(LogLine(level=_LEVELS.get(record.levelno, "trace"), msg=message))
            self._changed.notify_all()

    def take(
        self, enough: Callable[[list[LogLine]], bool] = lambda lines: True, patience: float = 0.0
    ) -> list[LogLine]:
        """The lines since the last call.

        Args:
            enough: Whether those lines are all that will come.
            patience: Seconds to wait for that.
        """
        end = time.monotonic() + patience
        with self._changed:
            while not enough(self._lines) and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            lines, self._lines = self._lines, []
            return lines
