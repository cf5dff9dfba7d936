"""Accepts from a listening socket that several processes share."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl as ssl_module
from collections.abc import Callable

_log = logging.getLogger("anywasm.http")

#: Seconds without accepting after the system had no descriptor or memory left.
EXHAUSTED_PAUSE = 1.0
#: Seconds in which the other processes may take what waits, after this one has taken its share.
TURN = 0.001
#: Connections that it takes at most before that.
LARGEST_SHARE = 64
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor:
    """Takes a share of the connections that wait, then lets the other processes have theirs.

    The loops' own servers accept all that wait: of 64 connections opened at once, one process had
    64 and the other none. The share is one connection, and twice as many each time that more are
    left after the others' turn, so that neither a burst nor a flood waits for long.

    Args:
        listening: The socket, not blocking; closed by `close`.
        protocol: Makes the protocol of each connection.
        ssl: Serve TLS with this context.
        handshake_timeout: Seconds for its handshake.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        ssl: ssl_module.SSLContext | None,
        handshake_timeout: float,
    ) -> None:
        self.socket = listening
        self._protocol = protocol
        self._ssl = ssl
        self._timeout = None if ssl is None else handshake_timeout
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[None]] = set()
        self._share = 1
        self._resuming: asyncio.TimerHandle | None = None
        self._resume()

    def _resume(self) -> None:
        self._loop.add_reader(self.socket, self._accept)

    def close(self) -> None:
        """Accept no more; the socket goes on listening where others have it."""
        if self._resuming is not None:
            self._resuming.cancel()
        self._loop.remove_reader(self.socket)
        self.socket.close()

    def _accept(self) -> None:
        pause = TURN
        try:
            for _ in range(self._share):
                connection, _ = self.socket.accept()
                connection.setblocking(False)
                task = self._loop.create_task(self._connect(connection))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)
            self._share = min(2 * self._share, LARGEST_SHARE)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            self._share = 1
            return
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            pause = EXHAUSTED_PAUSE
            _log.error("cannot accept connections for %.1f s: %s", pause, error)
        self._loop.remove_reader(self.socket)
        self._resuming = self._loop.call_later(pause, self._resume)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._ssl, ssl_handshake_timeout=self._timeout
            )
        except (OSError, asyncio.TimeoutError):
            connection.close()  # it went away, or does not speak TLS
