"""Gets each module compiled once per process, however many plugins and listeners use it."""

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
from anywasm.plugins.compiling import CompileLimitError, CompileLimits, CompilerPool
from anywasm.plugins.compiling.process import ElsewhereError
from anywasm.plugins.errors import ModuleLimitError, PluginLoadError
from anywasm.plugins.source import ModuleSource

#: Seconds of compiling that are worth a line in the log.
_NOTABLE = 0.5

_log = logging.getLogger("anywasm.plugins")


class ModuleCompiler:
    """Modules by engine and checksum, kept as long as somebody uses them. Thread-safe.

    Different modules compile at the same time; the same one is compiled by whoever comes first.

    Args:
        cache: Where compiled modules are kept for later processes; by default nowhere.
        pool: The processes in which modules are compiled within their limits; by default it
            happens in this one, which then has none. Engines that cannot serialize modules, and
            those that were registered in this process, compile here in any case.
    """

    def __init__(
        self, cache: ArtifactCache | None = None, pool: CompilerPool | None = None
    ) -> None:
        self._cache = cache
        self._pool = pool
        self._lock = threading.Lock()
        self._refused: dict[tuple[str, str], PluginLoadError] = {}
        self._modules: weakref.WeakValueDictionary[tuple[str, str], Module]
        self._modules = weakref.WeakValueDictionary()
        # A lock lasts as long as somebody holds on to it, so that all who want one module meet.
        self._locks: weakref.WeakValueDictionary[tuple[str, str], threading.Lock]
        self._locks = weakref.WeakValueDictionary()

    def compile(self, engine: str, source: ModuleSource, limits: CompileLimits) -> Module:
        """The compiled module.

        Args:
            engine: The engine's name.
            source: The module.
            limits: What compiling it may take, where that happens in another process.

        Raises:
            ModuleLimitError: When it takes more.
            PluginLoadError: When the engine is unknown or unavailable, or refuses the module.
        """
        key = (engine, source.sha256)
        with self._lock:
            refused = self._refused.pop(key, None)
            compiling = self._locks.setdefault(key, threading.Lock())
        if refused is not None:
            raise refused
        try:
            with compiling:
                module = self._modules.get(key)
                if module is None:
                    module = self._modules[key] = self._make(engine, source, limits)
                return module
        except CompileLimitError as error:
            raise ModuleLimitError(f"the module {source.place}: {error}", error.key) from error
        except AnyWasmError as error:
            raise PluginLoadError(f"the module {source.place}: {error}") from error

    def prepare(self, engine: str, source: ModuleSource) -> None:
        """Have another process load the engine while this one does, if that seems to be needed."""
        # What is no binary is a guest of an engine that compiles nothing.
        if self._pool is None or not source.wasm.startswith(b"\0asm"):
            return
        if self._cache is None or not self._cache.may_have(source.sha256):
            self._pool.prepare(engine)

    def refuse(self, engine: str, source: ModuleSource, error: PluginLoadError) -> None:
        """Have the next who wants the module told what was found out, and not find out again."""
        with self._lock:
            self._refused[engine, source.sha256] = error

    def close(self) -> None:
        """Compile nothing more: what is being compiled in other processes fails. Idempotent."""
        if self._pool is not None:
            self._pool.close()

    def _make(self, engine: str, source: ModuleSource, limits: CompileLimits) -> Module:
        self.prepare(engine, source)
        vm = get_wasm_engine(engine)
        module = None if self._cache is None else self._cache.load(vm, source.sha256)
        if module is not None:
            return module
        began = time.monotonic()
        artifact = self._artifact(vm, source, limits)
        made = vm.compile(source.wasm) if artifact is None else artifact
        took = time.monotonic() - began
        if self._cache is not None:
            self._cache.store(vm, source.sha256, made)
        if took > _NOTABLE:
            kept = self._cache is not None and vm.capabilities.serialize
            _log.info(
                "%s: compiled for %s in %.1f s%s",
                source.place,
                vm.name,
                took,
                ", kept for the next start" if kept else "",
            )
        if isinstance(made, Module):
            return made
        # A file of the cache is mapped, and shared by all that map it.
        module = None if self._cache is None else self._cache.load(vm, source.sha256)
        return module or vm.load(made)

    def _artifact(self, vm: VM, source: ModuleSource, limits: CompileLimits) -> bytes | None:
        """What another process compiled, or None where only this one can."""
        if self._pool is None or not vm.capabilities.serialize:
            return None
        try:
            return self._pool.compile(vm.name, source.wasm, limits, source.place)
        except ElsewhereError as error:
            _log.warning("%s: is compiled in this process, without limits: %s", source.place, error)
            return None
