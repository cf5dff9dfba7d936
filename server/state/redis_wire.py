"""One connection to a Redis or Valkey server."""

from __future__ import annotations

import socket
import time
from typing import Any

import redis
from redis.connection import DefaultParser

try:
    import hiredis
except ImportError:  # redis-py reads the answers then
    hiredis = None  # type: ignore[assignment]

__all__ = ["RedisWire", "hiredis"]

_PIECE = 64 * 1024


class RedisWire:
    """Sends commands and reads answers; for one thread at a time.

    redis-py connects, logs in, chooses the database and brings TLS. Past that its way is several
    times as long as a small answer's, so the connected socket is used here with hiredis; redis-py
    goes on where hiredis is missing.

    Args:
        connection: A connection of redis-py for RESP2, without `decode_responses`, of a class that
            `with_deadline` made. It is connected here.
        deadline: The `time.monotonic` second by which it must be.

    Raises:
        redis.RedisError: When that fails.
        OSError: Likewise.
    """

    def __init__(self, connection: Any, deadline: float) -> None:
        self._connection = connection
        connection.deadline = deadline
        self._socket: Any = None
        try:
            connection.connect()
        except TimeoutError:
            connection.disconnect()
            raise redis.TimeoutError from None
        except BaseException:
            connection.disconnect()
            raise
        if hiredis is not None:
            self._socket = getattr(getattr(connection, "_sock", None), "raw", None)
            self._reader = hiredis.Reader(
                protocolError=redis.InvalidResponse,
                replyError=DefaultParser.parse_error,
                notEnoughData=self,
            )

    def ask(self, deadline: float, command: tuple[Any, ...]) -> Any:
        """Send one command and wait for its answer. After an error the connection is of no use.

        Args:
            deadline: The `time.monotonic` second by which it must be there.
            command: Its words.

        Raises:
            redis.TimeoutError: When it is not.
            redis.ConnectionError: When the connection broke.
            redis.ResponseError: For an error that the server answered; harmless.
        """
        socket = self._socket
        if socket is None:
            return self._ask_slowly(deadline, command)
        try:
            rest = memoryview(hiredis.pack_command(command))
            while rest:
                socket.settimeout(_left(deadline))
                rest = rest[socket.send(rest) :]
            while (answer := self._reader.gets()) is self:
                socket.settimeout(_left(deadline))
                piece = socket.recv(_PIECE)
                if not piece:
                    raise redis.ConnectionError("the server closed the connection")
                self._reader.feed(piece)
        except TimeoutError:
            raise redis.TimeoutError from None
        except OSError as error:
            raise redis.ConnectionError(str(error)) from None
        if isinstance(answer, redis.RedisError):
            raise answer
        return answer

    def _ask_slowly(self, deadline: float, command: tuple[Any, ...]) -> Any:
        connection = self._connection
        connection.deadline = deadline
        connection.send_command(*command)
        return connection.read_response()

    @property
    def in_step(self) -> bool:
        """Whether no more has come than was asked for; without a look at the socket."""
        return self._socket is None or not self._reader.has_data()

    @property
    def alive(self) -> bool:
        """Whether nothing came while nothing was asked, the end of the connection neither."""
        try:
            return not self._connection.can_read(timeout=0)
        except (redis.RedisError, OSError):
            return False

    def hand_over(self) -> socket.socket:
        """The connected socket, which does not block and is the caller's from now on.

        Raises:
            redis.ConnectionError: Where redis-py does not show it.
        """
        taken: socket.socket | None = self._socket
        if taken is None:
            raise redis.ConnectionError("redis-py does not show the socket")
        self._socket = None
        self._connection._sock = None  # it closes what it has when it is let go
        taken.setblocking(False)
        return taken

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._connection.disconnect()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise redis.TimeoutError
    return left
