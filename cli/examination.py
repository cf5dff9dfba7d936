"""What a configuration would come to, found out by starting its plugins and serving nothing."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anywasm.abi.enums import LogLevel
from anywasm.abi.host import StateStore
from anywasm.abi.versions import abi_version
from anywasm.core.errors import AnyWasmError, ConfigError, StateStoreError
from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.compiling import CompilerPool
from anywasm.plugins.config import ListenerConfig, LoadedConfig, PluginConfig
from anywasm.plugins.config.access_log import STDOUT
from anywasm.plugins.config.listener import ListenerTlsConfig
from anywasm.plugins.config.model import KeyPath
from anywasm.plugins.functions import FunctionService
from anywasm.plugins.home import OwnThread
from anywasm.plugins.host import PluginHost
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.plugin import Plugin
from anywasm.plugins.router import FunctionRouter
from anywasm.plugins.source import read_source
from anywasm.server.filters import AccessLog
from anywasm.server.listeners import make_tls_context
from anywasm.server.services import make_cluster, make_services
from anywasm.server.state import open_state_store
from anywasm.server.upstream import UpstreamClusters


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one plugin.

    Attributes:
        name: The plugin.
        error: One line with place and remedy, or None when it is good.
        log: What its guest logged as a warning or worse, a line each.
        facts: How it would run; empty where it does not.
    """

    name: str
    error: str | None
    log: tuple[str, ...]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Examination:
    """What a configuration came to.

    Attributes:
        problems: What is wrong beside the plugins, one line each.
        verdicts: The plugins, in their order.
    """

    problems: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def good(self) -> bool:
        """Whether all of it could be served."""
        return not self.problems and all(verdict.error is None for verdict in self.verdicts)


def examine(loaded: LoadedConfig) -> Examination:
    """Do all that a server does before it listens, as `envoy --mode validate` does.

    Every plugin is started and configured on its engine. Guests get the services that they would
    get while serving, but on an event loop that never runs: their calls to clusters and Redis are
    taken or refused as they would be then, and not made, and nothing ticks.
    """
    problems: list[str] = []
    clusters = UpstreamClusters()
    stores: dict[str, StateStore] = {}
    loop = asyncio.new_event_loop()
    try:
        problems += _stores(loaded, stores)
        problems += _clusters(loaded, clusters)
        for index, listener in enumerate(loaded.config.listeners):
            problems += _listener(loaded, ("listeners", index), listener)
        verdicts = _plugins(loaded, clusters, stores, loop)
    finally:
        clusters.close()
        loop.close()
    return Examination(tuple(problems), verdicts)


# --- beside the plugins ---


def _stores(loaded: LoadedConfig, stores: dict[str, StateStore]) -> Iterator[str]:
    for name, config in loaded.config.state_stores.items():
        stores[name] = _Unasked()
        try:
            open_state_store(name, config).close()
        except ConfigError as error:
            yield from str(error).splitlines()


class _Unasked:
    """Stands for a store that nobody connects to."""

    def get(self, key: bytes, timeout: float) -> bytes | None:
        raise StateStoreError("no state store is asked while a configuration is checked")

    def close(self) -> None:
        pass


def _clusters(loaded: LoadedConfig, clusters: UpstreamClusters) -> Iterator[str]:
    for index, config in enumerate(loaded.config.clusters):
        try:
            clusters.add(make_cluster(config))
        except ConfigError as error:
            yield loaded.describe(("clusters", index), str(error))


def _listener(loaded: LoadedConfig, place: KeyPath, config: ListenerConfig) -> Iterator[str]:
    if config.tls is not None:
        yield from _tls(loaded, (*place, "tls"), config.name, config.tls)
    log = config.access_log
    if log is None or not config.is_filter_listener:
        return
    try:
        # Its file would be made by opening it.
        AccessLog(STDOUT, log.format)
    except ConfigError as error:
        yield loaded.describe((*place, "access_log", "format"), str(error))
    if log.path != STDOUT:
        path = Path(log.path)
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            yield loaded.describe((*place, "access_log", "path"), f"{path} cannot be written")


def _tls(
    loaded: LoadedConfig, place: KeyPath, name: str, config: ListenerTlsConfig
) -> Iterator[str]:
    unreadable = False
    for key in ("cert_file", "key_file", "client_ca_file"):
        path: Path | None = getattr(config, key)
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            unreadable = True
            yield loaded.describe((*place, key), f"{path} cannot be read: {error.strerror}")
    if not unreadable:
        try:
            make_tls_context(name, config)
        except ConfigError as error:
            yield loaded.describe(place, str(error))


# --- the plugins ---


def _plugins(
    loaded: LoadedConfig,
    clusters: UpstreamClusters,
    stores: dict[str, StateStore],
    loop: asyncio.AbstractEventLoop,
) -> tuple[Verdict, ...]:
    config = loaded.config
    said: defaultdict[str, list[str]] = defaultdict(list)

    def note(level: LogLevel, plugin: str, message: str) -> None:
        if level >= LogLevel.WARN:
            said[plugin].append(f"{level.name.lower()}: {' '.join(message.splitlines())}")

    router = FunctionRouter()
    services = make_services(config, loop, clusters, stores, FunctionService(router).invoke)
    thread = _FilterThread("anywasm-check")
    pool = CompilerPool()
    host = PluginHost(
        replace(services, log=note),
        ModuleCompiler(pool=pool),
        filters=set(config.filter_names),
        filter_home=lambda: thread,
    )
    manager = PluginManager(host, drain_timeout=0.0)
    manager.add_handler(router)
    verdicts: list[Verdict] = []
    with ExitStack() as stack:
        stack.callback(pool.close)
        stack.callback(thread.end)
        stack.callback(manager.close)
        for index, plugin in enumerate(config.plugins):
            facts: dict[str, Any] = {}
            error = None
            try:
                facts = _start(plugin, host, manager, pool)
            except AnyWasmError as failure:
                error = loaded.describe(("plugins", index), " ".join(str(failure).splitlines()))
            verdicts.append(Verdict(plugin.name, error, tuple(said[plugin.name]), facts))
    return tuple(verdicts)


class _FilterThread(OwnThread):
    """Stands for the event loop: the one thread of all filters, which may share instances."""

    def close(self) -> None:
        """Nothing: the others go on."""

    def end(self) -> None:
        """End it once all filters are closed."""
        super().close()


def _start(
    config: PluginConfig, host: PluginHost, manager: PluginManager, pool: CompilerPool
) -> dict[str, Any]:
    """Start a plugin; returns how it runs."""
    vm_config = config.vm_config
    source = read_source(vm_config)
    # Loading the engine, here and where modules are compiled, is not compiling.
    host.compiler.prepare(vm_config.engine, source)
    get_wasm_engine(vm_config.engine)
    pool.settle()
    began = time.perf_counter()
    module = host.compiler.compile(vm_config.engine, source, vm_config.compile_limits)
    compiled = time.perf_counter()
    manager.add(config)
    started = time.perf_counter()
    del module  # until now it kept the plugin from compiling it again
    return {
        **plugin_facts(manager.get(config.name).plugin),
        "compile_ms": round((compiled - began) * 1e3, 1),
        "start_ms": round((started - compiled) * 1e3, 1),
    }


def plugin_facts(plugin: Plugin) -> dict[str, Any]:
    """How a plugin runs, as plain values."""
    vm = plugin.module.vm
    return {
        "kind": "filter" if plugin.is_filter else "function",
        "id": None if plugin.is_filter else plugin.id,
        "engine": vm.name,
        "engine_version": vm.version,
        "abi_version": abi_version(plugin.module).name,
        "profile": plugin.profile,
        "execution": "inline" if plugin.inline or plugin.suspends else "thread",
    }
