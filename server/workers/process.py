"""One worker process, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Any

from anywasm.core.errors import AnyWasmError, ConfigError, PluginError
from anywasm.plugins.config import AppConfig
from anywasm.server.metrics import Snapshot
from anywasm.server.workers.channel import Channel, ChannelClosedError
from anywasm.server.workers.settings import WorkerSettings

_log = logging.getLogger("anywasm.workers")

#: Seconds between two questions whether a worker's event loop runs.
HEARTBEAT = 1.0
#: A snapshot of what is counted comes with every so many heartbeats, for when the worker crashes.
SNAPSHOT_EVERY = 5
#: Seconds in which a new process must have an event loop, which takes long on a busy machine.
FIRST_ANSWER = 60.0
#: Seconds beyond the drain that a worker has to free what it holds.
GRACE = 5.0
#: Seconds in which idle connections may bring a last request, while others go on serving.
LINGER = 1.0
#: Seconds in which a worker that hangs may write down where, before it is killed.
LAST_WORDS = 1.0

_keys = itertools.count(1)


class WorkerEndedError(AnyWasmError):
    """A worker ended before it served."""


class WorkerProcess:
    """A process from its start to its end. Belongs to the supervisor's event loop.

    Attributes:
        key: Tells this process from all others that there ever were.
        pid: Its process id.
        channel: How to talk to it.
        ready: Done once it serves; fails with the reason when it ends before.
        ended: Done with its exit code, negative for a signal, as `subprocess` has it.
        first_plugins: Its plugins when it began to serve, as the management API lists them.
        hung: Whether it was killed because it did not answer.
        retiring: Whether it was told to stop.
    """

    def __init__(self, settings: WorkerSettings, hear: Callable[[int, Snapshot], None]) -> None:
        self.key = next(_keys)
        self.pid = 0
        self.first_plugins: list[dict[str, Any]] = []
        self.hung = False
        self.retiring = False
        self.channel: Channel
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Task[int]
        self._settings = settings
        self._hear = hear
        self._beating: asyncio.Task[None]
        self._process: asyncio.subprocess.Process

    async def start(self, command: Sequence[str], timeout: float) -> WorkerProcess:
        """Start it; returns itself, before it serves.

        Args:
            command: Runs a worker; the descriptor of its channel is added.
            timeout: Seconds for which its event loop may not answer.
        """
        settings = self._settings
        mine, its = socket.socketpair()
        with its:
            inherited = [number for numbers in settings.sockets.values() for number in numbers]
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *command,
                    str(its.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(its.fileno(), *inherited),
                    # A terminal's Ctrl-C is for the supervisor, which stops the workers in order.
                    start_new_session=True,
                )
            except BaseException:
                mine.close()
                raise
        self.pid = self._process.pid
        handlers = {"ready": self._on_ready, "failed": self._on_failed, "last": self._on_last}
        self.channel = await Channel(handlers).open(mine)
        self.ended = asyncio.create_task(self._wait())
        with contextlib.suppress(ChannelClosedError):
            self.channel.tell("begin", settings.to_json())
        self._beating = asyncio.create_task(self._watch(timeout))
        return self

    async def _on_ready(self, body: Any) -> None:
        self.first_plugins = body
        if not self.ready.done():
            self.ready.set_result(None)

    async def _on_failed(self, body: Any) -> None:
        error = (ConfigError if body["config"] else WorkerEndedError)(body["message"])
        if body["plugin"]:
            error.__cause__ = PluginError(body["message"])
        self._fail(error)

    async def _on_last(self, body: Any) -> None:
        self._hear(self.key, body)

    def _fail(self, error: AnyWasmError) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # whether anybody waits for it or not

    async def _wait(self) -> int:
        code = await self._process.wait()
        # What it said last may still be on its way.
        await asyncio.wait([self.channel.closed], timeout=1.0)
        self._beating.cancel()
        self.channel.close()
        self._fail(
            WorkerEndedError(f"worker {self.number} ended while it started: {describe_exit(code)}")
        )
        return code

    async def _watch(self, timeout: float) -> None:
        with contextlib.suppress(AnyWasmError):
            patience = max(timeout, FIRST_ANSWER)
            for beat in itertools.count(1):
                try:
                    await self.channel.call("ping", timeout=patience)
                except asyncio.TimeoutError:
                    self.hung = True
                    break
                patience = timeout
                if beat % SNAPSHOT_EVERY == 0 and self.ready.done():
                    with contextlib.suppress(asyncio.TimeoutError):
                        await self.take_snapshot(timeout)
                await asyncio.sleep(HEARTBEAT)
        if self.hung:
            _log.error(
                "worker %d (pid %d) has not answered for %.1f s: killing it",
                self._settings.number,
                self.pid,
                patience,
            )
            # Where faulthandler is on, this shows what each thread was doing.
            self._signal(signal.SIGABRT)
            await asyncio.sleep(LAST_WORDS)
            self.kill()

    async def take_snapshot(self, timeout: float) -> None:
        """Ask what it has counted.

        Raises:
            AnyWasmError: When it has gone.
            asyncio.TimeoutError: When it does not answer in time.
        """
        self._hear(self.key, await self.channel.call("metrics", timeout=timeout))

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self, timeout: float, linger: float) -> int:
        """Stop it gracefully, and kill it past `timeout` seconds; its exit code."""
        self.retiring = True
        with contextlib.suppress(AnyWasmError, asyncio.TimeoutError):
            await self.channel.call("stop", linger, timeout)
        await asyncio.wait([self.ended], timeout=timeout)
        if not self.ended.done():
            _log.warning("worker %d (pid %d) does not end: killing it", self.number, self.pid)
            self.kill()
        return await asyncio.shield(self.ended)

    @property
    def config(self) -> AppConfig:
        """What it began with."""
        return self._settings.config

    @property
    def number(self) -> int:
        """Which of the workers it is."""
        return self._settings.number

    @property
    def serving(self) -> bool:
        """Whether it takes requests."""
        good = self.ready.done() and self.ready.exception() is None
        return good and not self.retiring and not self.ended.done()


def describe_exit(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
