"""What plugins get from the process that runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakSet

from anywasm.abi.guest import Guest
from anywasm.abi.host import HostServices
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.home import AnyThread, Home
from anywasm.plugins.shared_vms import SharedVms


@dataclass(frozen=True, slots=True)
class PluginHost:
    """One process, as its plugins see it.

    Attributes:
        services: What guests get.
        compiler: Compiles modules, once each.
        vms: The VMs that filters share.
        filters: Names of the plugins that are filters; the others are functions.
        filter_home: Makes the home of a filter's instance, where the streams' thread calls it;
            `thread_bound` instances must be made there, too.
        guests: All that were made and are still in memory.
    """

    services: HostServices
    compiler: ModuleCompiler = field(default_factory=ModuleCompiler)
    vms: SharedVms = field(default_factory=SharedVms)
    filters: set[str] = field(default_factory=set)
    filter_home: Callable[[], Home] = AnyThread
    guests: WeakSet[Guest] = field(default_factory=WeakSet)
