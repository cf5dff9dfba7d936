"""How the two processes talk: a frame is a head of JSON, and bytes that follow it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

_LENGTH = 4


def write_message(end: socket.socket, head: dict[str, Any], body: bytes) -> None:
    """Send a head and a body.

    Raises:
        OSError: When the other end has gone, or the socket's timeout has passed.
    """
    encoded = json.dumps({**head, "size": len(body)}).encode()
    end.sendall(len(encoded).to_bytes(_LENGTH, "big") + encoded)
    end.sendall(body)


class MessageReader:
    """Reads frames off a socket.

    Args:
        end: The socket.
        deadline: When to give up, by `time.monotonic`; None for never.
        every: Seconds after which `waiting` is called, again and again.
        waiting: Told while nothing comes.
    """

    def __init__(
        self,
        end: socket.socket,
        deadline: float | None = None,
        every: float = 10.0,
        waiting: Callable[[], None] | None = None,
    ) -> None:
        self._end = end
        self._deadline = deadline
        self._every = every
        self._waiting = waiting

    def read(self) -> tuple[dict[str, Any], bytes]:
        """The next frame.

        Raises:
            EOFError: When the other end has gone.
            TimeoutError: At the deadline.
            OSError: When the socket fails.
        """
        head = json.loads(self._take(int.from_bytes(self._take(_LENGTH), "big")))
        return head, bytes(self._take(head["size"]))

    def _take(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            count = self._receive(view)
            if not count:
                raise EOFError
            view = view[count:]
        return data

    def _receive(self, view: memoryview) -> int:
        if self._deadline is None:
            return self._end.recv_into(view)
        noted = time.monotonic() + self._every
        while True:
            now = time.monotonic()
            if now >= self._deadline:
                raise TimeoutError
            if now >= noted and self._waiting is not None:
                self._waiting()
                noted = now + self._every
            self._end.settimeout(max(0.001, min(self._deadline, noted) - now))
            try:
                return self._end.recv_into(view)
            except TimeoutError:
                continue
