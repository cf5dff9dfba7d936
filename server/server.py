"""Everything that one process serves, put together from a configuration."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from anywasm.abi.host import HostServices, StateStore
from anywasm.core.artifact_cache import default_cache
from anywasm.core.errors import AnyWasmError, ConfigError
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.compiling import CompilerPool
from anywasm.plugins.config import AppConfig, ListenerConfig, PluginConfig
from anywasm.plugins.functions import FunctionService
from anywasm.plugins.host import PluginHost
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.poller import PluginPoller
from anywasm.plugins.preload import load_engines, preload
from anywasm.plugins.router import FunctionRouter
from anywasm.plugins.watcher import PluginWatcher
from anywasm.server.admin import LocalAdministration
from anywasm.server.filters import AccessLog, FilterListener, FilterPlaces, IdleWatch, RouteTable
from anywasm.server.function_loop import FunctionLoop
from anywasm.server.functions import FunctionRoute
from anywasm.server.http import HandlerFactory, Listener, buffered
from anywasm.server.listeners import listen
from anywasm.server.loop_home import LoopHome
from anywasm.server.loops import run_loop, stop_signal
from anywasm.server.metrics import Metrics
from anywasm.server.reload import reload_plugins
from anywasm.server.service_manager import tell_manager
from anywasm.server.services import close_services, make_cluster, make_services
from anywasm.server.state import open_state_store
from anywasm.server.threads import in_thread
from anywasm.server.upstream import UpstreamClusters

if TYPE_CHECKING:
    from anywasm.server.admin.listener import AdminListener

_log = logging.getLogger("anywasm.server")

#: Threads for functions that wait. A waiting thread costs little, and one too few costs a 503.
WAITING_THREADS = 64


class Server:
    """One server process: plugins, listeners, management API, watcher.

    Args:
        config: What to serve.
        sockets: What the listeners accept from, by their names, where it is bound already.
        compilers: Compile modules; the server's from now on. By default it makes them itself.
    """

    def __init__(
        self,
        config: AppConfig,
        sockets: Mapping[str, Sequence[socket.socket]] | None = None,
        compilers: CompilerPool | None = None,
    ) -> None:
        self.config = config
        self._compilers = compilers or CompilerPool()
        self._sockets = sockets or {}
        self.router = FunctionRouter()
        self.service = FunctionService(self.router)
        self._function_loop: FunctionLoop | None = None
        self.listeners: dict[str, Listener] = {}
        self.admin: AdminListener | None = None
        self.clusters = UpstreamClusters()
        self._places = FilterPlaces()
        self._stores: dict[str, StateStore] = {}
        self._access_logs: list[AccessLog] = []
        self._reloading = threading.Lock()
        self._executor = ThreadPoolExecutor(WAITING_THREADS, "anywasm-wait")
        self._watcher: PluginWatcher | None = None
        self._poller: PluginPoller | None = None
        self._services: HostServices | None = None
        self.manager: PluginManager
        self.metrics: Metrics
        self.administration: LocalAdministration

    @property
    def addresses(self) -> dict[str, list[tuple[str, int] | str]]:
        """Where each listener listens: address and port, or the path of a Unix socket."""
        return {name: listener.addresses for name, listener in self.listeners.items()}

    def run(
        self,
        started: Callable[[Server], None] | None = None,
        reload: Callable[[], AppConfig] | None = None,
    ) -> None:
        """Serve until SIGTERM or SIGINT, then stop gracefully. SIGHUP reloads plugins.

        Args:
            started: Called once everything serves.
            reload: Reads the configuration again; by default modules alone are read again.

        Raises:
            AnyWasmError: When something cannot be started; everything is stopped again.
        """
        run_loop(self._run(started, reload))

    async def _run(
        self,
        started: Callable[[Server], None] | None,
        reload: Callable[[], AppConfig] | None,
    ) -> None:
        stopping = stop_signal()
        loop = asyncio.get_running_loop()

        def hang_up() -> None:
            if hasattr(self, "administration") and self.administration.ready:
                threading.Thread(target=self._reload, args=(reload,), name="anywasm-reload").start()

        loop.add_signal_handler(signal.SIGHUP, hang_up)
        # Whoever stops it while it starts need not wait for what a compiler may take.
        hurrying = asyncio.create_task(self.hurry(stopping))
        try:
            try:
                await self.start()
            except AnyWasmError:
                if not stopping.is_set():
                    raise
                return
            if started is not None:
                started(self)
            tell_manager("READY=1")
            await stopping.wait()
            _log.info("stopping: running requests have %.0f s", self.config.drain_timeout)
        finally:
            hurrying.cancel()
            tell_manager("STOPPING=1")
            await self.stop()

    async def hurry(self, stopping: asyncio.Event) -> None:
        """Once that is set, let nothing more be compiled, so that a start ends at once."""
        await stopping.wait()
        self._compilers.close()

    async def start(self) -> None:
        """Load all plugins, then listen. Nothing is accepted before everything can be answered.

        Raises:
            AnyWasmError: When something cannot be started; call `stop` then.
        """
        config = self.config
        loop = asyncio.get_running_loop()
        services = make_services(config, loop, self.clusters, self._stores, self.service.invoke)
        self._services = services
        home = LoopHome()
        compiler = ModuleCompiler(default_cache(), self._compilers)
        filters = set(config.filter_names)
        host = PluginHost(services, compiler, filters=filters, filter_home=lambda: home)
        self.manager = PluginManager(host, config.drain_timeout)
        self.manager.add_handler(self.router)
        self.manager.add_handler(self._places)
        self.metrics = Metrics(self.manager, services.metrics)
        self.administration = LocalAdministration(self.manager, self.router, self.metrics)
        for name, store in config.state_stores.items():
            self._stores[name] = open_state_store(name, store)
        for cluster in config.clusters:
            self.clusters.add(make_cluster(cluster))
        load_engines(config.plugins)
        modules = await in_thread(preload, config.plugins, compiler)
        for plugin in self.config.plugins:
            await in_thread(self._load, plugin)
        del modules  # the plugins hold on to theirs
        self._poller = PluginPoller(self.manager)
        self._poller.start()
        if config.watch:
            self._watcher = PluginWatcher(self.manager)
            self._watcher.start()
        for listener in self.config.listeners:
            await self._listen(listener)
        management = self.config.management
        if management is not None:
            token = management.token.get_secret_value() if management.token is not None else None
            from anywasm.server.admin.app import make_app
            from anywasm.server.admin.listener import AdminListener

            app = make_app(self.administration, token)
            self.admin = AdminListener(app, management.address, self.config.drain_timeout)
            await self.admin.start()
            _log.info("management API on %s", self.admin.address)
        self.administration.ready = True

    def _reload(self, read: Callable[[], AppConfig] | None) -> None:
        with self._reloading:
            tell_manager("RELOADING=1")
            old = self.config
            try:
                new = old if read is None else read()
                reload_plugins(self.manager, old, new)
                self.config = old.model_copy(update={"plugins": new.plugins})
                _log.info("reloaded")
            except AnyWasmError as error:
                _log.error("the reload has failed, what served before serves on: %s", error)
            finally:
                tell_manager("READY=1")

    def _load(self, plugin: PluginConfig) -> None:
        try:
            self.manager.add(plugin)
        except AnyWasmError as error:
            what, message = f"plugin {plugin.name!r}", str(error)
            told = message if message.startswith(what) else f"{what}: {message}"
            raise ConfigError(told) from error

    async def _listen(self, config: ListenerConfig) -> None:
        factory = self._filters(config) if config.is_filter_listener else self._functions(config)
        listener = await listen(config, factory, self._sockets.get(config.name, ()))
        self.listeners[config.name] = listener
        self.metrics.watch(config.name, listener)
        for place in listener.addresses:
            _log.info("listener %s on %s", config.name, place)

    def _functions(self, config: ListenerConfig) -> HandlerFactory:
        if self._function_loop is None:
            self._function_loop = FunctionLoop(self.service, self._executor)
        route = FunctionRoute(
            self.service, self._executor, self.metrics, self._function_loop, config.plugins
        )
        return buffered(route, config.limits.max_body_bytes)

    def _filters(self, config: ListenerConfig) -> HandlerFactory:
        loop = asyncio.get_running_loop()
        log = config.access_log
        access_log = None if log is None else AccessLog(log.path, log.format)
        if access_log is not None:
            self._access_logs.append(access_log)
        return FilterListener(
            filters=tuple(self._places.get(name) for name in config.filters or ()),
            table=RouteTable(config.routes),
            clusters=self.clusters,
            virtual_host=config.virtual_host,
            node_id=self.config.node_id,
            max_buffer=config.limits.max_buffer_bytes,
            generate_request_id=config.generate_request_id,
            use_remote_address=config.use_remote_address,
            upgrade=frozenset(name.lower().encode() for name in config.upgrade),
            idle=IdleWatch(loop, config.limits.stream_idle_timeout),
            access_log=access_log,
            times=self.metrics.stream_times(config.name),
            loop=loop,
        )

    async def stop(self, linger: float = 0.0) -> None:
        """Stop gracefully: refuse what is new, finish what runs, free everything. Idempotent.

        Args:
            linger: See `Listener.drain`.
        """
        if hasattr(self, "administration"):
            self.administration.ready = False
        loop = asyncio.get_running_loop()
        listeners = tuple(self.listeners.items())
        timeout = self.config.drain_timeout
        # A change that is being compiled for would not serve any more.
        self._compilers.close()
        steps: list[Awaitable[object]] = [item.drain(timeout, linger) for _, item in listeners]
        if self._watcher is not None:
            steps.append(loop.run_in_executor(None, self._watcher.close))
        if self._poller is not None:
            steps.append(loop.run_in_executor(None, self._poller.close))
        if self.admin is not None:
            steps.append(self.admin.close())
        # Whatever fails here, the rest is freed.
        done = await asyncio.gather(*steps, return_exceptions=True)
        for (name, _), cut in zip(listeners, done):
            if isinstance(cut, int) and cut:
                _log.warning("listener %s: %d requests were cut", name, cut)
        if hasattr(self, "manager"):
            await loop.run_in_executor(None, self.manager.close)
        if self._services is not None:
            await close_services(self._services)
        self.clusters.close()
        for log in self._access_logs:
            log.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        for store in self._stores.values():
            store.close()
        self._stores.clear()
        for failure in done:
            if isinstance(failure, BaseException):
                raise failure
