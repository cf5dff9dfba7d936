"""Compiles each module once per process, however many plugins and listeners use it."""

from __future__ import annotations

import threading
import weakref

from anywasm.core.errors import AnyWasmError
from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.source import ModuleSource


class ModuleCompiler:
    """Modules by engine and checksum, kept as long as somebody uses them. Thread-safe.

    Different modules compile at the same time; the same one is compiled by whoever comes first.
    """

    def __init__(self) -> None:
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
                    module = self._modules[key] = get_wasm_engine(engine).compile(source.wasm)
                return module
        except AnyWasmError as error:
            raise PluginLoadError(f"the module {source.path}: {error}") from error
