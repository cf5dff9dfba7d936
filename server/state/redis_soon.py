"""Reading from a Redis or Valkey server on the event loop, without a thread that waits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import hiredis
import redis

from anywasm.server.state.redis_line import Asked, RedisLine
from anywasm.server.state.redis_link import RedisLink

#: Takes the server's answer, or what stands in its place: a `redis.RedisError`, an `OSError`, or a
#: `StateStoreError` where the link is closed.
Tell = Callable[[Any], None]


class RedisSoon:
    """Sends commands that may be sent twice, over one connection for all. For one event loop.

    redis-py connects, in a thread: it brings URLs, login and databases. The loop then takes the
    socket over. It is connected when first asked, and again when the server was away; what was
    asked and not answered by then is asked once more.

    Args:
        link: Where the server is, and how errors are told.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._loop: asyncio.AbstractEventLoop | None = None
        self._line: RedisLine | None = None
        self._connecting: asyncio.Task[None] | None = None
        #: What waits for a connection.
        self._held: list[Asked] = []

    def ask(self, timeout: float, tell: Tell, *command: Any) -> None:
        """Send a command; on the running loop.

        Args:
            timeout: Seconds for the answer, connecting included; the link's own when that is less.
            tell: Called once on the loop.
            *command: Its words.
        """
        if self._link.closed:
            tell(self._link.closed_error())
            return
        if timeout <= 0:
            tell(redis.TimeoutError())
            return
        deadline = time.monotonic() + min(timeout, self._link.timeout)
        asked = Asked(hiredis.pack_command(command), deadline, tell)
        line = self._line
        if line is not None:
            line.ask(asked)
            return
        self._held.append(asked)
        if self._connecting is None:
            self._loop = asyncio.get_running_loop()
            self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        """Connect for those who wait; all of them hear of it when that fails."""
        loop = asyncio.get_running_loop()
        failure: Exception | None = None
        line: RedisLine | None = None
        # Who asked first has the least time left.
        deadline = min(asked.deadline for asked in self._held)
        try:
            connecting = loop.run_in_executor(None, lambda: self._link.open(deadline).hand_over())
            await asyncio.wait((connecting,), timeout=max(0.001, deadline - time.monotonic()))
            if not connecting.done():
                connecting.add_done_callback(_close)
                raise redis.TimeoutError
            connected = connecting.result()
            _, line = await loop.create_connection(
                lambda: RedisLine(loop, self._lost), sock=connected
            )
        except Exception as error:
            failure = error
        self._connecting = None
        held, self._held = self._held, []
        self._line = line
        if line is not None and self._link.closed:
            line.close()
        for asked in held:
            if failure is None and self._line is not None:
                self._line.ask(asked)
            else:
                asked.tell(failure or redis.ConnectionError("closed"))

    def _lost(self, line: RedisLine, left: list[Asked], error: redis.RedisError) -> None:
        """A connection has ended. The server may have been restarted: ask again, once."""
        if self._line is line:
            self._line = None
        now = time.monotonic()
        for asked in left:
            if asked.deadline <= now:
                asked.tell(redis.TimeoutError())
            elif asked.again or self._link.closed:
                asked.tell(error)
            else:
                asked.again = True
                self._held.append(asked)
        if self._held and self._connecting is None:
            assert self._loop is not None
            self._connecting = self._loop.create_task(self._connect())

    def close(self) -> None:
        """Close the connection; from any thread."""
        loop = self._loop
        if loop is None:
            return

        def close() -> None:
            if self._line is not None:
                self._line.close()

        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it the connection
            loop.call_soon_threadsafe(close)


def _close(connecting: asyncio.Future[socket.socket]) -> None:
    """Nobody waits any more for what is being connected."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()
