"""How a server process logs: stdlib loggers (`anywasm.*`), written to stderr by structlog."""

from __future__ import annotations

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, Processor

_TRACE = 5

# All but tabs: line ends would begin lines that look like the host's, escapes command terminals.
_CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def _harmless(match: re.Match[str]) -> str:
    # What has several lines keeps them, set off from where lines begin.
    return "\n    " if match[0] == "\n" else match[0].encode("unicode_escape").decode()


def _one_event(logger: object, method: str, event: EventDict) -> EventDict:
    """Let what guests and clients wrote into an event look like nothing else."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception":
            event[key] = _CONTROLS.sub(_harmless, value)
    return event


class _FromWorker(logging.Filter):
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def filter(self, record: logging.LogRecord) -> bool:
        record.worker = self._number
        return True


def configure_logging(level: str, *, json: bool, worker: int | None = None) -> None:
    """Send everything from `level` on to stderr, one line per event.

    Guests log through `anywasm.guest`, with the plugin in the record's field `plugin`.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        json: Write JSON, with the keys `timestamp`, `level`, `logger`, `event` and what else the
            record has; otherwise text, in colours on a terminal.
        worker: Which of several processes this is; put into every record.
    """
    logging.addLevelName(_TRACE, "TRACE")
    before: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    after: list[Processor]
    if json:
        after = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        after = [
            _one_event,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=plain
            ),
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after],
        )
    )
    if worker is not None:
        handler.addFilter(_FromWorker(worker))
    logger = logging.getLogger("anywasm")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())
    logging.captureWarnings(True)
    warnings = logging.getLogger("py.warnings")
    warnings.handlers = [handler]
    warnings.propagate = False
