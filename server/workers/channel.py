"""How the supervisor and a worker talk: calls in both directions over one private socket pair."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from anywasm.core.errors import AnyWasmError
from anywasm.server.admin import RefusedError, answer_to

_log = logging.getLogger("anywasm.workers")

#: What a call is answered with. Takes and gives JSON.
Handler = Callable[[Any], Awaitable[Any]]


class ChannelClosedError(AnyWasmError):
    """The process at the other end has gone."""


class Channel:
    """One end. Belongs to one event loop; `open` it there.

    A frame is four bytes of length, big-endian, and so much JSON. The socket pair is inherited and
    has no name, so nobody else can reach it.

    Args:
        handlers: Answer the calls of the other end, by name.
    """

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter
        #: Done when the other end has gone.
        self.closed: asyncio.Task[None]

    async def open(self, end: socket.socket) -> Channel:
        """Talk over `end`, which is the channel's from now on; returns the channel."""
        reader, self._writer = await asyncio.open_unix_connection(sock=end)
        self.closed = asyncio.create_task(self._read(reader))
        return self

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def call(self, name: str, body: Any = None, timeout: float | None = None) -> Any:
        """Have the other end do something, and wait for its answer.

        Raises:
            RefusedError: When that fails there.
            ChannelClosedError: When the other end goes before it answers.
            asyncio.TimeoutError: When there is no answer in time.
        """
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"id": number, "call": name, "body": body})
            return await asyncio.wait_for(future, timeout)
        finally:
            del self._waiting[number]

    def tell(self, name: str, body: Any = None) -> None:
        """Have the other end know something."""
        self._send({"call": name, "body": body})

    def _send(self, message: dict[str, Any]) -> None:
        if self.closed.done() or self._writer.is_closing():
            raise ChannelClosedError("it has ended")
        data = json.dumps(message).encode()
        self._writer.write(len(data).to_bytes(4, "big") + data)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                self._take(json.loads(await reader.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(ChannelClosedError("it has ended"))

    def _take(self, message: dict[str, Any]) -> None:
        if "call" in message:
            task = asyncio.create_task(self._answer(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            return
        future = self._waiting.get(message["id"])
        if future is None or future.done():
            return
        if "status" in message:
            future.set_exception(RefusedError(message["status"], message["body"]))
        else:
            future.set_result(message["body"])

    async def _answer(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"id": message.get("id")}
        try:
            answer["body"] = await self._handlers[message["call"]](message["body"])
        except AnyWasmError as error:
            answer["status"], answer["body"] = answer_to(error)
        except Exception as error:
            _log.exception("%s failed", message["call"])
            answer |= {"status": 500, "body": {"error": f"{type(error).__name__}: {error}"}}
        if "id" in message:
            with suppress(ChannelClosedError):  # then nobody waits for it
                self._send(answer)
