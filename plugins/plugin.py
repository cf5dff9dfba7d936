"""One plugin as it runs: a compiled module, its instances, and what it is called by."""

from __future__ import annotations

import itertools

from anywasm.abi.guest import Guest, GuestLimits
from anywasm.abi.host import HostServices
from anywasm.abi.imports import blocks
from anywasm.abi.plugin import PluginIdentity
from anywasm.core.errors import AnyWasmError
from anywasm.core.module import Module
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginStartError
from anywasm.plugins.home import AnyThread, OwnThread
from anywasm.plugins.pool import InstancePool, Slot
from anywasm.plugins.source import ModuleSource, read_source

_versions = itertools.count(1)


class Plugin:
    """One version of a plugin. It never changes; an update makes another.

    Attributes:
        config: What it was made from.
        source: Its module's bytes.
        module: Its compiled module.
        version: A number that grows with every plugin made in this process.
        id: What functions call it by: what `proxy_get_id` tells, else its name.
        inline: Whether it may run on the event loop: its module imports nothing that waits.
        pool: Its instances.
    """

    def __init__(self, config: PluginConfig, source: ModuleSource, module: Module) -> None:
        self.config = config
        self.source = source
        self.module = module
        self.version = next(_versions)
        self.id = config.name
        self._thread_bound = module.vm.capabilities.thread_bound
        execution = config.execution or ("thread" if blocks(module) else "inline")
        self.inline = execution == "inline" and not self._thread_bound
        self.identity = PluginIdentity(
            name=config.name,
            root_id=config.root_id,
            vm_id=config.vm_config.vm_id,
            configuration=config.configuration,
            vm_configuration=config.vm_config.configuration,
            env=config.vm_config.env,
        )

    @property
    def name(self) -> str:
        """The configured name."""
        return self.config.name

    @classmethod
    def load(cls, config: PluginConfig, services: HostServices, compiler: ModuleCompiler) -> Plugin:
        """Read, compile and start a plugin with all its instances, ready to serve.

        Raises:
            PluginLoadError: When its module cannot be read or compiled.
            PluginStartError: When a guest cannot be started and configured.
        """
        source = read_source(config.vm_config)
        plugin = cls(config, source, compiler.compile(config.vm_config.engine, source))
        plugin._start(services)
        return plugin

    def _start(self, services: HostServices) -> None:
        limits = GuestLimits(self.config.timeouts.start, self.config.timeouts.call)
        ids: set[str] = set()

        def make() -> Slot:
            home = OwnThread(f"anywasm-{self.name}") if self._thread_bound else AnyThread()
            try:
                return home.run(lambda: self._make(services, limits, home, ids))
            except BaseException:
                home.close()
                raise

        self.pool = InstancePool(self.name, make, self.config.instance_num)
        try:
            self.pool.start()
        except AnyWasmError as error:
            raise PluginStartError(f"plugin {self.name!r} cannot start: {error}") from error
        self.id = next(iter(ids), self.name)

    def _make(
        self,
        services: HostServices,
        limits: GuestLimits,
        home: AnyThread | OwnThread,
        ids: set[str],
    ) -> Slot:
        guest = Guest(self.module, self.identity, services, limits)
        try:
            told = guest.get_id()
            if told is not None:
                if ids and told not in ids:
                    known = next(iter(ids))
                    raise PluginStartError(f"its instances tell different ids: {known}, {told}")
                ids.add(told)
            return Slot(guest, guest.create_root(self.identity), home)
        except BaseException:
            guest.close()
            raise

    def close(self, drain: float = 0.0) -> bool:
        """Serve nothing new, wait for what runs, free the instances. See `InstancePool.close`."""
        return self.pool.close(drain)

    def __repr__(self) -> str:
        return f"<plugin {self.name!r} version {self.version}, id {self.id!r}>"
