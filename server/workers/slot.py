"""A place for one worker, which is filled again whenever its process ends."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from anywasm.core.errors import AnyWasmError
from anywasm.server.workers.process import LINGER, WorkerProcess, describe_exit

_log = logging.getLogger("anywasm.workers")

#: Why a process is replaced: it crashed, it hung, or it was told to end by somebody else.
RESTART_REASONS = ("crash", "hang", "exit")
#: Seconds until a worker that ended early is started again: doubled each time, up to the longest.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 30.0
#: Seconds of service after which the end of a worker is not its start's fault.
EARLY = 10.0


class WorkerSlot:
    """Keeps one worker running. Belongs to the supervisor's event loop.

    Args:
        number: Which of the workers it is, from 1 on.
        spawn: Starts a process for it, with what is to be served now.
        is_current: Whether that process still serves what is to be served.
        on_end: Told of each process that has ended.
        restarts: Counts the processes that had to be replaced, by the reason.

    Attributes:
        process: Its process, or None before the first and between two.
        last_end: How the last process ended, in words.
    """

    def __init__(
        self,
        number: int,
        spawn: Callable[[int], Awaitable[WorkerProcess]],
        is_current: Callable[[WorkerProcess], bool],
        on_end: Callable[[WorkerProcess], None],
        restarts: Counter[str],
    ) -> None:
        self.number = number
        self.process: WorkerProcess | None = None
        self.last_end: str | None = None
        self._spawn = spawn
        self._is_current = is_current
        self._on_end = on_end
        self._restarts = restarts
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the first process and wait until it serves.

        Raises:
            AnyWasmError: When it does not; the slot is empty then.
        """
        process = self.process = await self._spawn(self.number)
        try:
            await process.ready
        except BaseException:
            process.kill()
            await self._ended(process)
            raise
        self._keeping = asyncio.create_task(self._keep(process))

    async def stop(self, timeout: float, linger: float) -> None:
        """Let the process finish what it does, and fill the slot no more."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        process = self.process
        if process is not None:
            await process.stop(timeout, linger)
            await self._ended(process)

    @property
    def serving(self) -> WorkerProcess | None:
        """Its process, where that takes requests."""
        return self.process if self.process is not None and self.process.serving else None

    def describe(self) -> dict[str, Any]:
        """How it is, as JSON."""
        process = self.process
        state = "waiting" if process is None else "ready" if process.serving else "starting"
        return {
            "worker": self.number,
            "state": state,
            "pid": None if process is None else process.pid,
            "restarts": sum(self._restarts.values()),
            "last_end": self.last_end,
        }

    async def _ended(self, process: WorkerProcess) -> int:
        # Whoever waits here may be cancelled; how the process ended is for others, too.
        code = await asyncio.shield(process.ended)
        self._on_end(process)
        self.process = None
        return code

    async def _keep(self, process: WorkerProcess) -> None:
        loop = asyncio.get_running_loop()
        early = 0
        while True:
            begun = loop.time()
            await asyncio.wait([process.ended])
            code = await self._ended(process)
            self.last_end = describe_exit(code)
            reason = "hang" if process.hung else "crash" if code else "exit"
            self._restarts[reason] += 1
            served = process.ready.exception() is None
            early = early + 1 if reason != "exit" and loop.time() - begun < EARLY else 0
            why = self.last_end if served else f"{self.last_end}: {process.ready.exception()}"
            pause = _pause(early and min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(early - 1, 20)))
            level = logging.INFO if reason == "exit" and served else logging.ERROR
            _log.log(
                level,
                "worker %d (pid %d) has ended: %s; another one starts in %.1f s",
                self.number,
                process.pid,
                why,
                pause,
            )
            await asyncio.sleep(pause)
            process = await self._fill()

    async def _fill(self) -> WorkerProcess:
        """A new process, whether it serves or has failed to."""
        while True:
            try:
                process = self.process = await self._spawn(self.number)
            except OSError as error:
                _log.error("worker %d cannot be started: %s", self.number, error)
                await asyncio.sleep(_pause(LONGEST_PAUSE))
                continue
            try:
                await process.ready
            except AnyWasmError:
                return process
            if self._is_current(process):
                _log.info("worker %d (pid %d) serves", self.number, process.pid)
                return process
            # A plugin was installed or removed while it started.
            await process.stop(LONGEST_PAUSE, LINGER)
            await self._ended(process)


def _pause(longest: float) -> float:
    """Seconds until the next start: workers that fail together shall not restart together."""
    return longest * random.uniform(0.5, 1.0)
