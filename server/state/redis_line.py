"""One connection to a Redis or Valkey server on the event loop, for many who wait for answers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import hiredis
import redis
from redis.connection import DefaultParser

#: Takes the server's answer, or the error in its place.
Tell = Callable[[Any], None]


@dataclass(eq=False, slots=True)
class Asked:
    """One command that was sent.

    Attributes:
        command: As it goes over the wire.
        deadline: The `time.monotonic` second by which the answer must be there.
        tell: Takes the answer: a value of hiredis, or a `redis.RedisError`.
        again: Whether it was sent before.
    """

    command: bytes
    deadline: float
    tell: Tell
    again: bool = False


class RedisLine(asyncio.Protocol):
    """Commands go out as they come, and their answers come in the same order.

    One whose answer does not come in time ends the connection: what follows on it would be taken
    for something else, and a server that says nothing says nothing to the others either.

    Args:
        loop: Where it is used.
        lost: Told, once, when the connection has ended, with all that was not answered and why.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lost: Callable[[RedisLine, list[Asked], redis.RedisError], None],
    ) -> None:
        self._loop = loop
        self._lost = lost
        self._reader = hiredis.Reader(
            protocolError=redis.InvalidResponse,
            replyError=DefaultParser.parse_error,
            notEnoughData=self,
        )
        self._waiting: deque[Asked] = deque()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._broken: redis.RedisError | None = None

    def ask(self, asked: Asked) -> None:
        """Send a command."""
        assert self._transport is not None
        self._waiting.append(asked)
        self._transport.write(asked.command)
        if self._timer is None or asked.deadline < self._due:
            self._watch(asked.deadline)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has taken the connected socket over."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Give out the answers that have come whole."""
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        while True:
            try:
                answer = reader.gets()
            except redis.RedisError as error:
                self._break(error)
                return
            if answer is self:
                return
            if not waiting:
                self._break(redis.InvalidResponse("an answer to nothing that was asked"))
                return
            waiting.popleft().tell(answer)

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more will come."""
        reason = "the server closed the connection" if error is None else str(error)
        self._break(redis.ConnectionError(reason))

    def close(self) -> None:
        """End the connection. Idempotent; on the loop."""
        self._break(redis.ConnectionError("closed"))

    def _break(self, error: redis.RedisError) -> None:
        if self._broken is not None:
            return
        self._broken = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        left = list(self._waiting)
        self._waiting.clear()
        self._lost(self, left, error)

    def _watch(self, deadline: float) -> None:
        """Look at the time then. One timer is kept for all commands, and not one moved for each."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        delay = max(0.001, deadline - time.monotonic())
        self._timer = self._loop.call_later(delay, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        first = min(asked.deadline for asked in self._waiting)
        if first > time.monotonic():
            self._watch(first)
        else:
            self._break(redis.TimeoutError("no answer in time"))
