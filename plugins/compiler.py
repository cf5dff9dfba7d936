"""Compiles each module once per process, however many plugins and listeners use it."""

from __future__ import annotations

import logging
import threading
import time
import weakref

from anywasm.core.artifact_cache import ArtifactCache
from anywasm.core.errors import AnyWasmError
from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.core.vm import VM
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.source import ModuleSource

#: Seconds of compiling that are worth a line in the log.
_NOTABLE = 0.5

_log = logging.getLogger("anywasm.plugins")


class ModuleCompiler:
    """Modules by engine and checksum, kept as long as somebody uses them. Thread-safe.

    Different modules compile at the same time; the same one is compiled by whoever comes first.

    Args:
        cache: Where compiled modules are kept for later processes; by default nowhere.
    """

    def __init__(self, cache: ArtifactCache | None = None) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._modules: weakref.WeakValueDictionary[tuple[str, str], Module]
        self._modules = weakref.WeakValueDictionary()
        # A lock lasts as long as somebody holds on to it, so that all who want one module meet.
        self._locks: weakref.WeakValueDictionary[tuple[str, str], threading.Lock]
        self._locks = weakref.WeakValueDictionary()

    def compile(self, engine: str, source: ModuleSource) -> Module:
        """The compiled module.

        Raises:
            PluginLoadError: When the engine is unknown or unavailable, or refuses the module.
        """
        key = (engine, source.sha256)
        with self._lock:
            compiling = self._locks.setdefault(key, threading.Lock())
        try:
            with compiling:
                module = self._modules.get(key)
                if module is None:
                    module = self._modules[key] = self._make(get_wasm_engine(engine), source)
                return module
        except AnyWasmError as error:
            raise PluginLoadError(f"the module {source.place}: {error}") from error

    def _make(self, vm: VM, source: ModuleSource) -> Module:
        if self._cache is None:
            return vm.compile(source.wasm)
        module = self._cache.load(vm, source.sha256)
        if module is None:
            began = time.monotonic()
            module = vm.compile(source.wasm)
            took = time.monotonic() - began
            self._cache.store(vm, source.sha256, module)
            if took > _NOTABLE:
                _log.info(
                    "%s: compiled for %s in %.1f s%s",
                    source.place,
                    vm.name,
                    took,
                    ", kept for the next start" if vm.capabilities.serialize else "",
                )
        return module
