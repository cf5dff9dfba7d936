"""Why a sender has to wait."""

from __future__ import annotations

from typing import Protocol


class Sender(Protocol):
    """What can be made to wait."""

    def pause_reading(self) -> None:
        """Read nothing more of it."""

    def resume_reading(self) -> None:
        """Read on."""


class Holds:
    """The reasons to read nothing from one side; it is read again when none is left.

    A slow client, a slow upstream and every filter that holds something back are reasons of their
    own, so that one of them going away does not undo another.

    Args:
        sender: That side.
    """

    __slots__ = ("_reasons", "_sender")

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._reasons: set[object] | None = None

    def set(self, reason: object, hold: bool) -> None:
        """Add a reason, or take it away. Idempotent."""
        reasons = self._reasons
        if hold:
            if reasons is None:
                reasons = self._reasons = set()
                self._sender.pause_reading()
            reasons.add(reason)
        elif reasons is not None:
            reasons.discard(reason)
            if not reasons:
                self._reasons = None
                self._sender.resume_reading()
