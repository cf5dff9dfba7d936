"""Signals that end the demo, whatever it is doing when they come."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Has SIGINT, SIGTERM and SIGHUP unwind what runs, so that nothing is left behind.

    They are raised where the main thread is, which ends its waiting at once. That is not enough:
    Python drops what is raised while an object is finalized, and an HTTP response is one whose
    finalizer runs Python code (in a loop of requests more than one signal of a hundred came there).
    So they are also kept, and raised again by `check`, and at the end.

    A context manager, for the main thread.
    """

    def __init__(self) -> None:
        self._number: int | None = None

    def __enter__(self) -> Interruption:
        self._before = [signal.signal(number, self._interrupt) for number in _NUMBERS]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in zip(_NUMBERS, self._before):
            signal.signal(number, handler)
        if not isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.check()

    def check(self) -> None:
        """Raise what has come so far, if that was dropped.

        Raises:
            KeyboardInterrupt: For SIGINT.
            SystemExit: For the others, with 128 and the signal's number.
        """
        if self._number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._number is not None:
            raise SystemExit(128 + self._number)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        self.check()
