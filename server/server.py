"""Everything that one process serves, put together from a configuration."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from anywasm.abi.host import HostServices, StateStore
from anywasm.core.errors import AnyWasmError, ConfigError
from anywasm.plugins.config import AppConfig, ListenerConfig, PluginConfig
from anywasm.plugins.functions import FunctionService
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.router import FunctionRouter
from anywasm.plugins.watcher import PluginWatcher
from anywasm.server.admin import AdminListener, make_app
from anywasm.server.functions import FunctionRoute
from anywasm.server.guest_log import FROM_NAME, log_guest
from anywasm.server.http import HttpLimits, Listener, buffered
from anywasm.server.metrics import Metrics
from anywasm.server.state import open_state_store

_log = logging.getLogger("anywasm.server")

#: Threads for functions that wait. A waiting thread costs little, and one too few costs a 503.
WAITING_THREADS = 64


class Server:
    """One server process: plugins, listeners, management API, watcher.

    Args:
        config: What to serve.
    """

    def __init__(self, config: AppConfig) -> None:
        self.config = config
        self.router = FunctionRouter()
        self.service = FunctionService(self.router)
        self.listeners: dict[str, Listener] = {}
        self.admin: AdminListener | None = None
        self._stores: dict[str, StateStore] = {}
        self.manager = PluginManager(
            HostServices(
                log=log_guest,
                log_level=FROM_NAME[config.log_level],
                state_stores=self._stores,
                invoke=self.service.invoke,
            ),
            config.drain_timeout,
        )
        self.manager.add_handler(self.router)
        self.metrics = Metrics(self.manager)
        self._executor = ThreadPoolExecutor(WAITING_THREADS, "anywasm-wait")
        self._watcher = PluginWatcher(self.manager) if config.watch else None

    def run(self, started: Callable[[Server], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then stop gracefully.

        Args:
            started: Called once everything serves.

        Raises:
            AnyWasmError: When something cannot be started; everything is stopped again.
        """
        try:
            import uvloop
        except ImportError:  # there is none for this system; asyncio's own loop serves too
            asyncio.run(self._run(started))
        else:
            uvloop.run(self._run(started))

    async def _run(self, started: Callable[[Server], None] | None) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        try:
            await self.start()
            if started is not None:
                started(self)
            await stopping.wait()
            _log.info("stopping: running requests have %.0f s", self.config.drain_timeout)
        finally:
            await self.stop()

    async def start(self) -> None:
        """Load all plugins, then listen. Nothing is accepted before everything can be answered.

        Raises:
            AnyWasmError: When something cannot be started; call `stop` then.
        """
        for name, store in self.config.state_stores.items():
            self._stores[name] = open_state_store(name, store)
        loop = asyncio.get_running_loop()
        for plugin in self.config.plugins:
            await loop.run_in_executor(self._executor, self._load, plugin)
        if self._watcher is not None:
            self._watcher.start()
        for listener in self.config.listeners:
            await self._listen(listener)
        management = self.config.management
        if management is not None:
            token = management.token.get_secret_value() if management.token is not None else None
            app = make_app(self.manager, self.router, self.metrics, token)
            self.admin = AdminListener(app, management.address, self.config.drain_timeout)
            await self.admin.start()
            _log.info("management API on %s", self.admin.address)

    def _load(self, plugin: PluginConfig) -> None:
        try:
            self.manager.add(plugin)
        except AnyWasmError as error:
            what, message = f"plugin {plugin.name!r}", str(error)
            told = message if message.startswith(what) else f"{what}: {message}"
            raise ConfigError(told) from error

    async def _listen(self, config: ListenerConfig) -> None:
        limits = config.limits
        route = FunctionRoute(self.service, self._executor, self.metrics, config.plugins)
        address = config.address
        listener = Listener(
            buffered(route, limits.max_body_bytes),
            address.host if address.path is None else None,
            address.port,
            HttpLimits(
                max_header_bytes=limits.max_header_bytes,
                max_headers=limits.max_headers,
                max_target_bytes=limits.max_target_bytes,
                max_body_bytes=limits.max_body_bytes,
                idle_timeout=limits.idle_timeout,
                header_timeout=limits.header_timeout,
                body_timeout=limits.body_timeout,
                write_timeout=limits.write_timeout,
            ),
            path=None if address.path is None else str(address.path),
        )
        try:
            await listener.start()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"listener {config.name!r} cannot listen on {address}: {reason}"
            ) from error
        self.listeners[config.name] = listener
        self.metrics.watch(config.name, listener)
        for place in listener.addresses:
            _log.info("listener %s on %s", config.name, place)

    async def stop(self) -> None:
        """Stop gracefully: refuse what is new, finish what runs, free everything. Idempotent."""
        loop = asyncio.get_running_loop()
        listeners = tuple(self.listeners.items())
        timeout = self.config.drain_timeout
        steps: list[Awaitable[object]] = [item.drain(timeout) for _, item in listeners]
        if self._watcher is not None:
            steps.append(loop.run_in_executor(None, self._watcher.close))
        if self.admin is not None:
            steps.append(self.admin.close())
        # Whatever fails here, the rest is freed.
        done = await asyncio.gather(*steps, return_exceptions=True)
        for (name, _), cut in zip(listeners, done):
            if isinstance(cut, int) and cut:
                _log.warning("listener %s: %d requests were cut", name, cut)
        await loop.run_in_executor(None, self.manager.close)
        self._executor.shutdown(wait=False, cancel_futures=True)
        for store in self._stores.values():
            store.close()
        self._stores.clear()
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure
