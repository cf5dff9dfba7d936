"""A connection to a Redis server that carries commands and answers as they are."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from anywasm.server.callouts.redis_command import FAILED, OK, RedisCommand
from anywasm.server.callouts.resp import RespError, RespFramer

#: Why a connection ended, or None where the server closed it.
Ended = Callable[["RedisConnection", "str | None"], None]


class RedisConnection(asyncio.Protocol):
    """Pipelines commands; answers come in their order.

    Args:
        max_answer_bytes: A longer answer ends the connection.
        on_ended: Told once it is gone, after the commands under way have failed.
    """

    def __init__(self, max_answer_bytes: int, on_ended: Ended) -> None:
        self._framer = RespFramer(max_answer_bytes)
        self._on_ended = on_ended
        self._pending: deque[RedisCommand] = deque()
        self._transport: asyncio.Transport | None = None
        self._reason: str | None = None
        self._answers = 0
        self._retired = False
        self.closed = False

    def __len__(self) -> int:
        """Commands under way."""
        return len(self._pending)

    @property
    def unsent(self) -> int:
        """Bytes that the server has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def send(self, command: RedisCommand) -> None:
        """Send a command; one that nobody waits for any more is left out."""
        if command.done:
            return
        if self.closed or self._transport is None:
            command.finish(FAILED)
            return
        command.answers_before = self._answers
        self._pending.append(command)
        self._transport.write(command.query)

    def expired(self, command: RedisCommand) -> None:
        """Hear that a command's time is over: if no answer came meanwhile, the server hangs."""
        if command in self._pending and self._answers == command.answers_before:
            self.end("it does not answer")

    def retire(self) -> None:
        """Close once all commands under way are answered."""
        self._retired = True
        if not self._pending:
            self.end(None)

    def end(self, reason: str | None) -> None:
        """Close at once; the commands under way fail."""
        self._reason = self._reason or reason
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are no subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Give each whole answer to the command whose turn it is."""
        if self.closed:
            return
        try:
            answers = self._framer.feed(data)
        except RespError as error:
            self.end(str(error))
            return
        for answer in answers:
            if not self._pending:
                self.end("it sends what nobody asked for")
                return
            self._answers += 1
            self._pending.popleft().finish(OK, answer)
        if self._retired and not self._pending:
            self.end(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what is under way."""
        self.closed = True
        self._transport = None
        pending, self._pending = self._pending, deque()
        for command in pending:
            command.finish(FAILED)
        self._on_ended(self, self._reason or (str(error) if error else None))
