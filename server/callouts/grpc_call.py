"""One gRPC call of a guest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from anywasm.abi.calls import MESSAGE_COST, GrpcEvents, GrpcTarget
from anywasm.core.errors import AnyWasmError
from anywasm.server.callouts.grpc_channels import GrpcChannels, TooManyChannelsError, load_grpc
from anywasm.server.callouts.grpc_metadata import from_grpc, to_grpc
from anywasm.server.callouts.grpc_service import GrpcUpstream
from anywasm.server.callouts.loop import soon

#: Seconds between two looks whether a guest has kept up with its stream.
_PAUSE = 0.01

_log = logging.getLogger("anywasm.server.callouts")

# gRPC status codes.
_OK, _DEADLINE_EXCEEDED, _RESOURCE_EXHAUSTED, _INTERNAL, _UNAVAILABLE = 0, 4, 8, 13, 14


class GrpcRun:
    """What unary calls and streams have in common: a task on the loop that tells the guest.

    Args:
        loop: The loop.
        channels: Where channels come from.
        running: Holds the task while it runs.
        upstream: Where the call goes.
        target: What it calls.
        timeout: Seconds, or None for no deadline.
        events: Who is told, on the loop's thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channels: GrpcChannels,
        running: set[asyncio.Task[None]],
        upstream: GrpcUpstream,
        target: GrpcTarget,
        timeout: float | None,
        events: GrpcEvents,
    ) -> None:
        self._loop = loop
        self._channels = channels
        self._running = running
        self._upstream = upstream
        self._target = target
        self._timeout = timeout
        self._events = events
        self._cancelled = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; on the loop."""
        if not self._cancelled:
            self._task = self._loop.create_task(self._run())
            self._running.add(self._task)
            self._task.add_done_callback(self._running.discard)

    def cancel(self) -> None:
        """End it without another event; from any thread."""
        if not self._cancelled:
            self._cancelled = True
            soon(self._loop, self._stop)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        if self._timeout == 0:  # which grpcio takes for no limit at all
            self._close(_DEADLINE_EXCEEDED, "no time is left")
            return
        try:
            metadata = to_grpc((*self._upstream.metadata, *self._target.metadata))
            channel, judge = self._channels.open(self._upstream)
            await self._talk(channel, {"timeout": self._timeout, "metadata": metadata}, judge)
        except TooManyChannelsError as error:
            self._close(_RESOURCE_EXHAUSTED, str(error))
        except AnyWasmError as error:
            self._close(_INTERNAL, str(error))
        except Exception:
            _log.exception("a gRPC call to cluster %s broke", self._upstream.cluster.name)
            self._close(_INTERNAL, "the call broke in the host")

    async def _talk(
        self, channel: Any, options: dict[str, Any], judge: Callable[[bool], None]
    ) -> None:
        raise NotImplementedError

    @property
    def _path(self) -> str:
        return f"/{self._target.service}/{self._target.method}"

    def _close(self, status: int, message: str | None) -> None:
        if not self._cancelled:
            self._events.on_close(status, message or "")


class UnaryCall(GrpcRun):
    """A unary call: one message, or a status."""

    def __init__(self, message: bytes, *args: Any) -> None:
        super().__init__(*args)
        self._message = message

    async def _talk(
        self, channel: Any, options: dict[str, Any], judge: Callable[[bool], None]
    ) -> None:
        try:
            answer = await channel.unary_unary(self._path)(self._message, **options)
        except load_grpc().aio.AioRpcError as error:
            status = error.code().value[0]
            judge(status != _UNAVAILABLE)
            self._close(status, error.details())
            return
        judge(True)
        if not self._cancelled:
            self._events.on_message(answer)


class StreamCall(GrpcRun):
    """A stream, both ways.

    What the guest sends faster than the server takes it waits here; the ABI bounds how much.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        # The first is the guest's thread's to write, the second the loop's.
        self._given = 0
        self._sent = 0
        self._half_closed = False

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent; from any thread."""
        return self._given - self._sent

    def send(self, message: bytes, end_stream: bool) -> None:
        """Send a message, the last one with `end_stream`; nothing after that. From any thread."""
        if not self._half_closed:
            self._half_closed = end_stream
            self._given += len(message) + MESSAGE_COST
            soon(self._loop, lambda: self._outbox.put_nowait(message))
            if end_stream:
                soon(self._loop, lambda: self._outbox.put_nowait(None))

    def half_close(self) -> None:
        """Send nothing more; from any thread."""
        if not self._half_closed:
            self._half_closed = True
            soon(self._loop, lambda: self._outbox.put_nowait(None))

    async def _talk(
        self, channel: Any, options: dict[str, Any], judge: Callable[[bool], None]
    ) -> None:
        call = channel.stream_stream(self._path)(**options)
        writer = self._loop.create_task(self._write(call))
        try:
            await self._read(call, judge)
        finally:
            writer.cancel()
            call.cancel()

    async def _write(self, call: Any) -> None:
        try:
            while (message := await self._outbox.get()) is not None:
                await call.write(message)
                self._sent += len(message) + MESSAGE_COST
            await call.done_writing()
        except (asyncio.InvalidStateError, load_grpc().aio.AioRpcError):
            return  # the stream has ended, and the reader says how

    async def _read(self, call: Any, judge: Callable[[bool], None]) -> None:
        end = load_grpc().aio.EOF
        initial = from_grpc(await call.initial_metadata())
        # A stream that failed before the server answered has none; grpcio says it is empty.
        answered = bool(initial) or not call.done() or (await call.code()).value[0] == _OK
        if answered and not self._cancelled:
            self._events.on_initial_metadata(initial)
        try:
            while (message := await call.read()) is not end:
                if not self._cancelled:
                    self._events.on_message(message)
                # What is not read holds the server up. The guest takes from it in another thread,
                # and this is rare: a look now and then does.
                while self._events.full and not self._cancelled:  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE)
        except load_grpc().aio.AioRpcError:
            pass  # the status is asked for below
        status: int = (await call.code()).value[0]
        trailing = from_grpc(await call.trailing_metadata())
        judge(status != _UNAVAILABLE)
        if (answered or trailing) and not self._cancelled:
            self._events.on_trailing_metadata(trailing)
        self._close(status, await call.details())
