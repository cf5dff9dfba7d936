"""One plugin as it runs: a compiled module, its instances, and what it is called by."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import TypeVar

from anywasm.abi.callbacks import CALLBACKS
from anywasm.abi.context import RootContext
from anywasm.abi.guest import Guest, GuestLimits
from anywasm.abi.imports import blocks, shares
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.versions import abi_version
from anywasm.core.errors import AnyWasmError
from anywasm.core.module import Module
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginStartError
from anywasm.plugins.failures import Circuit, Failure, FailureLog
from anywasm.plugins.filter_pool import FilterPool
from anywasm.plugins.home import AnyThread, Home, OwnThread
from anywasm.plugins.host import PluginHost
from anywasm.plugins.pool import InstancePool
from anywasm.plugins.poster import Poster
from anywasm.plugins.shared_vms import SharedHome, SharedVm
from anywasm.plugins.slot import Slot
from anywasm.plugins.source import ModuleSource, read_source

T = TypeVar("T")

_versions = itertools.count(1)


#: Host functions by which a guest can put pieces of body behind what it passes on (Higress).
_RESPONSE_CALLBACKS = frozenset(
    {"proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_trailers"}
)
_INJECTING = frozenset({"proxy_inject_encoded_data_to_filter_chain", "proxy_call_foreign_function"})


class Plugin:
    """One version of a plugin. It never changes; an update makes another.

    Attributes:
        config: What it was made from.
        source: Its module's bytes.
        module: Its compiled module.
        version: A number that grows with every plugin made in this process.
        id: What functions call it by: what `proxy_get_id` tells, else its name.
        is_filter: Whether it is a filter; otherwise it is a function.
        inline: Whether it may run on the event loop: its module imports nothing that waits.
        suspends: Whether it runs there although it waits: it is a function that is to, and whose
            guests can be suspended.
        profile: `envoy` or `higress`.
        changes_request: Whether it may change the bodies of requests.
        changes_response: Whether it may change the bodies of responses.
        sees_response: Whether it looks at responses at all.
        injects: Whether it may put pieces of body of its own behind what it passes on (Higress).
        stops_iteration: Whether a filter that pauses on headers still gets the body.
    """

    def __init__(
        self, config: PluginConfig, source: ModuleSource, module: Module, host: PluginHost
    ) -> None:
        self.config = config
        self.source = source
        self.module = module
        self.version = next(_versions)
        self.id = config.name
        self.is_filter = config.name in host.filters
        self._host = host
        self._ids: set[str] = set()
        self._closed = False
        self._failure_log = FailureLog(config.name, source.wasm)
        self._limits = GuestLimits(
            config.timeouts.start, config.timeouts.call, config.max_memory_bytes
        )
        self._thread_bound = module.vm.capabilities.thread_bound
        waits = blocks(module, shared=host.services.shared_waits)
        execution = config.execution or ("thread" if waits else "inline")
        self.inline = execution == "inline" and (self.is_filter or not self._thread_bound)
        self.suspends = (
            waits
            and config.execution == "inline"
            and not self.is_filter
            and module.vm.capabilities.suspend
            and not (host.services.shared_waits and shares(module))
        )
        higress = config.profile is None and abi_version(module).name == "0.2.100"
        self.profile = "higress" if higress else config.profile or "envoy"
        allowed = config.capabilities
        offers = set(module.exports_by_name).intersection(CALLBACKS if allowed is None else allowed)
        changes = any(item.name == "proxy_set_buffer_bytes" for item in module.imports)
        self.injects = self.profile == "higress" and any(
            item.name in _INJECTING for item in module.imports
        )
        self.changes_request = changes and "proxy_on_request_body" in offers
        self.changes_response = self.injects or (changes and "proxy_on_response_body" in offers)
        self.sees_response = self.injects or not offers.isdisjoint(_RESPONSE_CALLBACKS)
        # What Envoy calls StopIteration: a filter that pauses on headers still gets the body.
        stops = config.allow_on_headers_stop_iteration
        self.stops_iteration = self.profile == "higress" if stops is None else stops
        self.identity = PluginIdentity(
            name=config.name,
            root_id=config.root_id,
            vm_id=config.vm_config.vm_id,
            configuration=config.plugin_config,
            vm_configuration=config.vm_config.configuration,
            env=config.vm_config.env,
            allowed_capabilities=None if allowed is None else frozenset(allowed),
            profile=self.profile,
        )

    @property
    def name(self) -> str:
        """The configured name."""
        return self.config.name

    @classmethod
    def load(
        cls, config: PluginConfig, host: PluginHost, source: ModuleSource | None = None
    ) -> Plugin:
        """Read, compile and start a plugin with all its instances, ready to serve.

        Args:
            config: The plugin.
            host: The process that runs it.
            source: Its module, where it was read already.

        Raises:
            PluginLoadError: When its module cannot be read or compiled.
            PluginStartError: When a guest cannot be started and configured.
        """
        source = source or read_source(config.vm_config)
        vm_config = config.vm_config
        module = host.compiler.compile(vm_config.engine, source, vm_config.compile_limits)
        shared = (host.services.shared_data, host.services.shared_queues)
        for store in shared:
            # A plugin keeps what its VMs share, also while it has none of them.
            store.hold(config.vm_config.vm_id)
        try:
            plugin = cls(config, source, module, host)
            plugin._try_out()
            plugin.pool.start()
        except AnyWasmError as error:
            for store in shared:
                store.release(config.vm_config.vm_id)
            raise PluginStartError(f"plugin {config.name!r} cannot start: {error}") from error
        plugin.id = next(iter(plugin._ids), config.name)
        return plugin

    @cached_property
    def functions(self) -> InstancePool:
        """The instances of a function."""
        return InstancePool(
            self.name,
            self._make_function,
            self.config.instance_num,
            self._circuit("fail_reload"),
            self._tell,
            on_demand=self.config.instance_start == "on_demand",
        )

    @cached_property
    def filters(self) -> FilterPool:
        """The instances of a filter."""
        config = self.config
        return FilterPool(
            self.name,
            self._make_filter,
            config.instance_num,
            self._circuit(config.failure_policy),
            self._tell,
            None if self.inline and self._thread_bound else config.timeouts.lease,
        )

    def _circuit(self, policy: str) -> Circuit:
        backoff = self.config.reload_backoff
        return Circuit(policy, (backoff.base, backoff.max))

    @property
    def circuit(self) -> Circuit:
        """Whether it serves, since when, and why not."""
        return self.pool.circuit

    def _tell(self, failure: Failure) -> None:
        def placed(before: Failure, after: Failure) -> None:
            if self.pool.circuit.last is before:
                self.pool.circuit.last = after

        self._failure_log.write(failure, placed)

    @property
    def pool(self) -> FilterPool | InstancePool:
        """The instances."""
        return self.filters if self.is_filter else self.functions

    # --- making instances ---

    def _make_function(self) -> Slot:
        home = OwnThread(f"anywasm-{self.name}") if self._thread_bound else AnyThread()

        def make() -> Slot:
            guest = self._make_guest()
            try:
                self._learn_id(guest)
                slot = Slot(guest, self._start(guest), home)
            except BaseException:
                guest.close()
                raise
            guest.poster = lambda job: self.functions.post(slot, job)
            return slot

        return _at(home, make)

    def _make_filter(self) -> Slot:
        key = self._sharing_key()
        if key is not None:
            return self._join(key)
        home = self._new_home()

        def make() -> Slot:
            guest = self._make_guest()
            poster = guest.poster = Poster(guest, home)
            try:
                slot = Slot(guest, self._start(guest), home)
            except BaseException:
                guest.close()
                raise
            poster.open()
            return slot

        # One that may be used by any thread is started in this one, which may wait.
        return make() if self.inline and not self._thread_bound else _at(home, make)

    def _new_home(self) -> Home:
        """Where a filter's streams call it."""
        return self._host.filter_home() if self.inline else OwnThread(f"anywasm-{self.name}")

    def _join(self, key: Hashable) -> Slot:
        """Move into a VM that others may be using: everything happens where they call it."""
        vms = self._host.vms

        def make_vm() -> SharedVm:
            home = self._new_home()
            # As in `_make_filter`: what need not be done there holds nobody up.
            anywhere = self.inline and not self._thread_bound
            guest = self._make_guest() if anywhere else _at(home, self._make_guest)
            poster = guest.poster = Poster(guest, home)
            poster.open()
            return SharedVm(guest, home)

        vm = vms.enter(key, make_vm)
        home = SharedHome(vm)

        def make() -> Slot:
            try:
                root = self._start(vm.guest)
            except BaseException:
                if vms.leave(vm):
                    vm.guest.close()
                raise
            return Slot(vm.guest, root, home, leave=lambda _: vms.leave(vm))

        return _at(home, make)

    def _try_out(self) -> None:
        """Start a filter once in a VM of its own before it moves in with others.

        What breaks there would break them, too. Envoy does so with every configuration.
        """
        key = self._sharing_key() if self.is_filter else None
        if key is None or not self._host.vms.has(key):
            return
        guest = self._make_guest()
        guest.poster = lambda job: None  # nothing that it asks for is answered
        try:
            self._start(guest)
        finally:
            guest.close()

    def _start(self, guest: Guest) -> RootContext:
        try:
            return guest.create_root(self.identity)
        except AnyWasmError as error:
            if guest.failed_in is None:
                raise
            raise PluginStartError(f"{guest.failed_in}: {error}", guest.failed_in) from error

    def _make_guest(self) -> Guest:
        guest = Guest(self.module, self.identity, self._host.services, self._limits)
        self._host.guests.add(guest)
        return guest

    def _sharing_key(self) -> Hashable | None:
        """What filters must have in common to share a VM, or None where this one shares with none.

        Envoy shares by `vm_id`, code and VM configuration; here a `vm_id` must be given for it.
        """
        vm = self.config.vm_config
        if not vm.vm_id or self.config.instance_num != 1:
            return None
        return (
            vm.vm_id,
            self.source.sha256,
            vm.engine,
            vm.configuration,
            tuple(sorted(vm.env.items())),
            self.config.capabilities,
            self._limits,
            self.inline,
        )

    def _learn_id(self, guest: Guest) -> None:
        told = guest.get_id()
        if told is None:
            return
        if self._ids and told not in self._ids:
            known = next(iter(self._ids))
            raise PluginStartError(f"its instances tell different ids: {known}, {told}")
        self._ids.add(told)

    def close(self, drain: float = 0.0) -> bool:
        """Serve nothing new, wait for what runs, free the instances. See `InstancePool.close`."""
        drained = self.pool.close(drain)
        if not self._closed:
            self._closed = True
            self._host.services.shared_data.release(self.identity.vm_id)
            self._host.services.shared_queues.release(self.identity.vm_id)
        return drained

    def __repr__(self) -> str:
        return f"<plugin {self.name!r} version {self.version}, id {self.id!r}>"


def _at(home: Home, make: Callable[[], T]) -> T:
    """Make an instance in its home, which is closed when that fails."""
    try:
        return home.run(make)
    except BaseException:
        home.close()
        raise
