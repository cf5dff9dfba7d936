"""Why a sender has to wait."""

from __future__ import annotations

from collections.abc import Callable


class Holds:
    """The reasons to read nothing from one side; it is read again when none is left.

    A slow client, a slow upstream and every filter that holds something back are reasons of their
    own, so that one of them going away does not undo another.

    Args:
        pause: Stops reading.
        resume: Starts it again.
    """

    __slots__ = ("_pause", "_reasons", "_resume")

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause = pause
        self._resume = resume
        self._reasons: set[object] = set()

    def __bool__(self) -> bool:
        return bool(self._reasons)

    def set(self, reason: object, hold: bool) -> None:
        """Add a reason, or take it away. Idempotent."""
        reasons = self._reasons
        if hold:
            if not reasons:
                self._pause()
            reasons.add(reason)
        elif reason in reasons:
            reasons.discard(reason)
            if not reasons:
                self._resume()
