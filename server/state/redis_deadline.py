"""Connections of redis-py that have one deadline for all that is waited for."""

from __future__ import annotations

import math
import time
from typing import Any


class DeadlineSocket:
    """A connected socket on which no wait goes on past its connection's deadline.

    redis-py gives each wait a time of its own, so that a server which sends a byte now and then is
    never too late. Everything that does not wait is the socket's own.

    Args:
        raw: The socket.
        connection: Has the deadline.
    """

    def __init__(self, raw: Any, connection: DeadlineConnection) -> None:
        self.raw = raw
        self._connection = connection
        self._wanted: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        """Have waits end sooner than at the deadline; 0 for not to wait at all."""
        self._wanted = seconds

    def _limit(self) -> None:
        wanted = self._wanted
        left = 0.0 if wanted == 0 else self._connection.left
        given = [seconds for seconds in (wanted, left) if seconds is not None]
        self.raw.settimeout(min(given, default=None))

    def recv(self, *arguments: Any) -> bytes:
        """As the socket's."""
        self._limit()
        data: bytes = self.raw.recv(*arguments)
        return data

    def recv_into(self, *arguments: Any) -> int:
        """As the socket's."""
        self._limit()
        count: int = self.raw.recv_into(*arguments)
        return count

    def sendall(self, data: bytes) -> None:
        """As the socket's; a TLS socket's own gives each piece of it the whole time."""
        rest = memoryview(data)
        while rest:
            self._limit()
            rest = rest[self.raw.send(rest) :]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


class DeadlineConnection:
    """Goes before a connection class of redis-py; see `with_deadline`.

    Attributes:
        deadline: The `time.monotonic` second after which nothing is waited for.
    """

    deadline = math.inf

    @property
    def left(self) -> float | None:
        """Seconds until the deadline, or None before it has one.

        Raises:
            TimeoutError: When it has passed; what a socket would raise, so that redis-py closes it.
        """
        if self.deadline == math.inf:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    # What redis-py sets a socket's timeout to, and what it reads for each address that it tries.
    socket_timeout = socket_connect_timeout = property(
        lambda self: self.left, lambda self, value: None
    )

    def _connect(self) -> DeadlineSocket:
        raw = super()._connect()  # type: ignore[misc]
        return DeadlineSocket(raw, self)


def with_deadline(kind: type[Any]) -> type[Any]:
    """A subclass of a connection class that connects, sends and reads until its deadline.

    Only the name of a host is looked up in the time that the system gives itself.
    """
    return type(f"Deadline{kind.__name__}", (DeadlineConnection, kind), {})
