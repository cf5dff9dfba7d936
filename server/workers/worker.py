"""One of several processes that serve the same."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from anywasm.abi.imports import shares
from anywasm.core.errors import AnyWasmError, ConfigError, PluginError
from anywasm.core.threads import patience
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginNotFoundError, SameConfigError
from anywasm.server.loops import run_loop
from anywasm.server.server import Server
from anywasm.server.threads import in_thread
from anywasm.server.workers.channel import Channel, ChannelClosedError
from anywasm.server.workers.process import GRACE
from anywasm.server.workers.settings import WorkerSettings, unpack

_log = logging.getLogger("anywasm.workers")


class Worker:
    """Serves what its supervisor tells it, until that says stop or goes.

    Args:
        end: The worker's end of the channel.
        prepare: Called with the settings before anything is made of them.
    """

    def __init__(self, end: socket.socket, prepare: Callable[[WorkerSettings], None]) -> None:
        self._end = end
        self._prepare = prepare
        self._server: Server
        self._stopping = asyncio.Event()
        self._linger = 0.0
        self._done = threading.Event()

    def run(self) -> None:
        """Serve; returns after a graceful stop."""
        run_loop(self._run())

    async def _run(self) -> None:
        self._stopping = asyncio.Event()
        settings: asyncio.Future[WorkerSettings] = asyncio.get_running_loop().create_future()

        async def begin(body: Any) -> None:
            settings.set_result(WorkerSettings.from_json(body))

        channel = await Channel(
            {
                "begin": begin,
                "ping": self._ping,
                "change": self._change,
                "restore": self._restore,
                "plugins": self._plugins,
                "metrics": self._metrics,
                "stop": self._stop,
            }
        ).open(self._end)
        loop = asyncio.get_running_loop()
        # The supervisor decides; this is for whoever wants one worker replaced.
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        channel.closed.add_done_callback(self._orphaned)
        begun: list[asyncio.Future[Any]] = [settings, channel.closed]
        await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
        if not settings.done():
            return
        given = settings.result()
        self._prepare(given)
        arguments = os.dup(self._end.fileno()), given.config.drain_timeout + GRACE
        threading.Thread(target=self._outlive, args=arguments, daemon=True).start()
        # The supervisor has the management API.
        config = given.config.model_copy(update={"management": None})
        self._server = Server(config, given.open_sockets())
        hurrying = asyncio.create_task(self._server.hurry(self._stopping))
        try:
            try:
                await self._server.start()
            except AnyWasmError as error:
                with suppress(ChannelClosedError):
                    channel.tell("failed", _told(error))
                return
            self._warn_of_sharing(given)
            with suppress(ChannelClosedError):
                channel.tell("ready", await self._plugins(None))
            await self._stopping.wait()
        finally:
            hurrying.cancel()
            await self._server.stop(self._linger)
            channel.closed.remove_done_callback(self._orphaned)
        with suppress(AnyWasmError, asyncio.TimeoutError):
            # What was counted since the supervisor last asked. It answers, so it has it.
            await channel.call("last", self._server.metrics.snapshot(), 5.0)
        self._done.set()
        channel.close()

    def _warn_of_sharing(self, given: WorkerSettings) -> None:
        """Say once for all workers that what guests share is not shared by them."""
        if given.number > 1 or given.config.shared_store is not None:
            return
        plugins = self._server.manager.list()
        names = [item.name for item in plugins if shares(item.plugin.module)]
        if names:
            _log.warning(
                "each worker has its own shared data and queues (used by %s): "
                "set shared_store to have them in common",
                ", ".join(names),
            )

    def _orphaned(self, _: object) -> None:
        _log.warning("the supervisor has gone: stopping")
        self._stopping.set()

    def _outlive(self, end: int, grace: float) -> None:
        """End the process some time after the supervisor, whatever holds up its loop. A thread."""
        poll = select.poll()
        poll.register(end, 0)
        with patience:
            poll.poll()
        if self._stopping.is_set():
            grace = 0.0  # whoever was told to stop twice waits for nothing
        if not self._done.wait(grace):
            os._exit(1)

    async def _ping(self, body: Any) -> None:
        """Answered by a loop that runs."""

    async def _stop(self, body: Any) -> None:
        self._linger = body
        self._stopping.set()

    async def _plugins(self, body: Any) -> Any:
        return await self._server.administration.plugins()

    async def _metrics(self, body: Any) -> Any:
        return self._server.metrics.snapshot()

    async def _change(self, body: Any) -> Any:
        return await self._server.administration.change(body["action"], body["body"])

    async def _restore(self, body: Any) -> None:
        """Have a plugin be again what it was: of that configuration, or not there at all."""
        manager = self._server.manager
        if body["config"] is None:
            with suppress(PluginNotFoundError):
                await in_thread(manager.uninstall, body["name"])
            return
        config = unpack(body["config"])
        assert isinstance(config, PluginConfig)
        with suppress(SameConfigError):
            await in_thread(manager.add_or_update, config)


def _told(error: AnyWasmError) -> dict[str, Any]:
    return {
        "message": str(error),
        "config": isinstance(error, ConfigError),
        "plugin": isinstance(error.__cause__, PluginError),
    }
