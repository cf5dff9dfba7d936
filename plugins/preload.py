"""Compiles the modules of several plugins side by side, before the plugins start in turn."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

from anywasm.core.artifact_cache import default_cache
from anywasm.core.errors import AnyWasmError
from anywasm.core.module import Module
from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.compiling import CompileLimits, CompilerPool
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.source import ModuleSource, read_source

_log = logging.getLogger("anywasm.plugins")


def anticipate(configs: Iterable[PluginConfig], pool: CompilerPool) -> None:
    """Have a process ready that compiles, where the first of the modules was not compiled before.

    Starting one takes a while, in which a server can be imported.
    """
    config = next((item.vm_config for item in configs if item.vm_config.path is not None), None)
    if config is not None:
        with contextlib.suppress(PluginLoadError):
            ModuleCompiler(default_cache(), pool).prepare(config.engine, read_source(config))


def load_engines(configs: Iterable[PluginConfig]) -> None:
    """Load the engines of plugins in the calling thread, from which those that use them come.

    V8 protects its code with the processor's keys for memory, where there are any: only the thread
    that loads it, and threads that this one makes later, may read it. What cannot be loaded is left
    to be told by the plugin that asks for it.
    """
    for engine in dict.fromkeys(config.vm_config.engine for config in configs):
        with contextlib.suppress(AnyWasmError):
            get_wasm_engine(engine)


def preload(configs: Iterable[PluginConfig], compiler: ModuleCompiler) -> list[Module]:
    """Compile what the plugins need, as many modules at a time as there are processors.

    Logs how far it has come. What fails is left out, and the compiler knows why.

    Returns:
        The modules, each once. Hold on to them until the plugins are loaded, since the compiler
        does not.
    """
    wanted: dict[tuple[str, str], ModuleSource] = {}
    limits: dict[tuple[str, str], CompileLimits] = {}
    for config in configs:
        try:
            source = read_source(config.vm_config)
        except PluginLoadError:
            continue
        key = config.vm_config.engine, source.sha256
        wanted[key], limits[key] = source, config.vm_config.compile_limits
    modules: list[Module] = []
    if len(wanted) < 2:
        return modules  # there is nothing to do side by side
    with ThreadPoolExecutor(os.cpu_count(), "anywasm-compile") as threads:
        compiling = {
            threads.submit(compiler.compile, key[0], source, limits[key]): (key[0], source)
            for key, source in wanted.items()
        }
        for count, done in enumerate(as_completed(compiling), 1):
            engine, source = compiling[done]
            try:
                modules.append(done.result())
            except PluginLoadError as error:
                compiler.refuse(engine, source, error)
            _log.info("modules: %d of %d ready (%s)", count, len(wanted), source.place)
    return modules
