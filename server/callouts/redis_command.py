"""One Redis command of a guest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from anywasm.server.callouts.loop import soon

_log = logging.getLogger("anywasm.server.callouts")

#: What guests get besides an answer. Higress's SDKs compare with 0 and nothing else.
OK, FAILED = 0, 2


class RedisCommand:
    """A command on its way, and who waits for the answer. Used on the loop, but for `cancel`.

    Args:
        loop: The loop.
        query: The command as RESP.
        on_response: Told once, on the loop.

    Attributes:
        query: As given.
        answers_before: How many answers its connection had received when it was sent.
    """

    __slots__ = ("_loop", "_on_response", "_timer", "answers_before", "query")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        query: bytes,
        on_response: Callable[[int, bytes], None],
    ) -> None:
        self._loop = loop
        self._on_response: Callable[[int, bytes], None] | None = on_response
        self._timer: asyncio.TimerHandle | None = None
        self.query = query
        self.answers_before = 0

    @property
    def done(self) -> bool:
        """Nobody waits any more: it was answered, has failed or was cancelled."""
        return self._on_response is None

    def expire_after(self, seconds: float, expired: Callable[[RedisCommand], None]) -> None:
        """Call `expired` unless it is done by then."""
        self._timer = self._loop.call_later(seconds, expired, self)

    def finish(self, status: int, answer: bytes = b"") -> None:
        """Tell the outcome, if somebody still waits for it."""
        on_response, self._on_response = self._on_response, None
        self._release()
        if on_response is None:
            return
        try:
            on_response(status, answer)
        except Exception:
            _log.exception("the receiver of a Redis answer failed")

    def cancel(self) -> None:
        """Tell nobody; the command may run all the same. From any thread."""
        if self._on_response is not None:
            self._on_response = None
            soon(self._loop, self._release)

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
