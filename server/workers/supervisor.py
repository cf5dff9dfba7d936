"""The process that keeps workers running. It serves no requests and loads no engine."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anywasm.core.errors import AnyWasmError
from anywasm.plugins.config import AppConfig, ListenerConfig
from anywasm.server.admin.app import make_app
from anywasm.server.admin.listener import AdminListener
from anywasm.server.listeners import bind, remove_socket
from anywasm.server.loops import run_loop, stop_signal
from anywasm.server.service_manager import tell_manager
from anywasm.server.workers.fleet import Fleet
from anywasm.server.workers.process import GRACE, LINGER, WorkerProcess
from anywasm.server.workers.settings import WorkerSettings
from anywasm.server.workers.slot import WorkerSlot
from anywasm.server.workers.totals import Totals

_log = logging.getLogger("anywasm.workers")


class Supervisor:
    """Serves one configuration with several processes, behind one management API.

    It listens, and the workers accept from its sockets: no connection that waits to be accepted is
    lost with a worker. A change of the configuration starts new workers beside the old ones, which
    go when all the new ones serve.

    Args:
        config: What to serve.
        command: Runs a worker (`Worker`); the number of a file descriptor is appended.
        options: Handed to that command with the configuration.
        reload: Reads the configuration again, on SIGHUP; by default the modules alone are.
    """

    def __init__(
        self,
        config: AppConfig,
        command: Sequence[str],
        options: Mapping[str, Any] | None = None,
        reload: Callable[[], AppConfig] | None = None,
    ) -> None:
        self.config = config
        self.fleet = Fleet(config)
        self.admin: AdminListener | None = None
        self._command = command
        self._options = options or {}
        self._read = reload
        self._sockets: dict[tuple[str, str], tuple[socket.socket, ...]] = {}
        self._totals: Totals = self.fleet.totals
        self._hang_up = asyncio.Event()

    @property
    def addresses(self) -> dict[str, list[tuple[str, int] | str]]:
        """Where each listener listens: address and port, or the path of a Unix socket."""
        return {
            item.name: [
                (name[0], name[1]) if isinstance(name, tuple) else str(name)
                for name in (listening.getsockname() for listening in self._sockets[_key(item)])
            ]
            for item in self.config.listeners
        }

    def run(self, started: Callable[[Supervisor], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then stop gracefully. SIGHUP reloads.

        Args:
            started: Called once everything serves.

        Raises:
            AnyWasmError: When something cannot be started; everything is stopped again.
        """
        run_loop(self._run(started))

    async def _run(self, started: Callable[[Supervisor], None] | None) -> None:
        stopping = stop_signal(self.fleet.kill)
        self._hang_up = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up.set)
        reloading: asyncio.Task[None] | None = None
        try:
            if not await self._start_unless(stopping):
                return
            if started is not None:
                started(self)
            tell_manager("READY=1")
            reloading = asyncio.create_task(self._follow_signals())
            await stopping.wait()
            _log.info("stopping: running requests have %.0f s", self.config.drain_timeout)
        finally:
            tell_manager("STOPPING=1")
            if reloading is not None:
                reloading.cancel()
                await asyncio.wait([reloading])
            await self.stop()

    async def _start_unless(self, stopping: asyncio.Event) -> bool:
        """Start; False where that was given up since it is to stop."""
        starting = asyncio.ensure_future(self.start())
        told = asyncio.ensure_future(stopping.wait())
        try:
            await asyncio.wait((starting, told), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait((starting,))
                return False
            await starting
            return True
        finally:
            told.cancel()

    async def start(self) -> None:
        """Listen, start the workers and wait until all of them serve.

        Raises:
            AnyWasmError: When something cannot be started; call `stop` then.
        """
        self._bind(self.config)
        self.fleet.slots = await self._generation(self.config)
        await self._manage(self.config)

    async def _generation(self, config: AppConfig) -> list[WorkerSlot]:
        """Workers that serve `config`, all of them ready.

        Raises:
            AnyWasmError: When one of them cannot serve it; none is left then.
        """

        def wanted() -> AppConfig:
            return self.fleet.config if slots is self.fleet.slots else config

        async def spawn(number: int) -> WorkerProcess:
            now = wanted()
            settings = WorkerSettings(
                number,
                now,
                {
                    item.name: tuple(place.fileno() for place in self._sockets[_key(item)])
                    for item in now.listeners
                },
                self._options,
            )
            process = WorkerProcess(settings, self._totals.hear)
            return await process.start(self._command, config.worker_timeout)

        slots = [
            WorkerSlot(
                number,
                spawn,
                is_current=lambda process: process.config is wanted(),
                on_end=lambda process: self._totals.end(process.key),
                restarts=self.fleet.restarts[number],
            )
            for number in range(1, config.worker_count + 1)
        ]
        starts = [asyncio.ensure_future(slot.start()) for slot in slots]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)
            await asyncio.gather(*(slot.stop(GRACE, 0.0) for slot in slots))
            raise
        return slots

    def _bind(self, config: AppConfig) -> None:
        for item in config.listeners:
            if _key(item) not in self._sockets:
                self._sockets[_key(item)] = bind(item)

    def _unbind(self, config: AppConfig) -> None:
        """Close what `config` does not listen on."""
        kept = {_key(item) for item in config.listeners}
        for key in self._sockets.keys() - kept:
            for listening in self._sockets.pop(key):
                if listening.family == socket.AF_UNIX:
                    remove_socket(Path(listening.getsockname()))
                listening.close()

    async def _manage(self, config: AppConfig) -> None:
        management = config.management
        if management is None:
            return
        token = management.token.get_secret_value() if management.token is not None else None
        app = make_app(self.fleet, token)
        self.admin = AdminListener(app, management.address, config.drain_timeout)
        await self.admin.start()
        _log.info("management API on %s", self.admin.address)

    async def _follow_signals(self) -> None:
        while True:
            await self._hang_up.wait()
            self._hang_up.clear()
            tell_manager("RELOADING=1")
            try:
                await self.reload()
            except AnyWasmError as error:
                _log.error("the reload has failed, what served before serves on: %s", error)
            except Exception:
                _log.exception("the reload has failed, what served before serves on")
            tell_manager("READY=1")

    async def reload(self) -> None:
        """Serve the configuration as it is now, with new workers; then let the old ones go.

        What was changed through the management API is as the configuration says again.

        Raises:
            AnyWasmError: When it is wrong or cannot be served; what served before serves on.
        """
        async with self.fleet.lock:
            old, config = self.config, self.config
            if self._read is not None:
                config = await asyncio.get_running_loop().run_in_executor(None, self._read)
            _log.info("reloading")
            before = self.fleet.slots
            try:
                self._bind(config)
                slots = await self._generation(config)
            except BaseException:
                self._unbind(old)
                raise
            self.config = config
            self.fleet.serve(config, slots)
            _log.info("reloaded: %d workers serve, the old ones finish", len(slots))
        timeout = old.drain_timeout + GRACE
        await asyncio.gather(*(slot.stop(timeout, LINGER) for slot in before))
        self._unbind(config)
        if config.management != old.management:
            if self.admin is not None:
                await self.admin.close()
                self.admin = None
            await self._manage(config)

    async def stop(self) -> None:
        """Stop accepting, let the workers finish, close everything. Idempotent."""
        timeout = self.config.drain_timeout + GRACE
        self.fleet.stopping = True
        await asyncio.gather(*(slot.stop(timeout, 0.0) for slot in self.fleet.slots))
        if self.admin is not None:
            await self.admin.close()
        self._unbind(self.config.model_copy(update={"listeners": ()}))


def _key(config: ListenerConfig) -> tuple[str, str]:
    """What tells its socket from all others; a port that the system chose belongs to the name."""
    address = config.address
    chosen = address.path is None and address.port == 0
    return str(address), config.name if chosen else ""
