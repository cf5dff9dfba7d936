"""Compiles the modules of several plugins side by side, before the plugins start in turn."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed

from anywasm.core.module import Module
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginLoadError
from anywasm.plugins.source import ModuleSource, read_source

_log = logging.getLogger("anywasm.plugins")


def preload(configs: Iterable[PluginConfig], compiler: ModuleCompiler) -> list[Module]:
    """Compile what the plugins need, as many modules at a time as there are processors.

    Logs how far it has come. What fails is left out: loading the plugin then says why.

    Returns:
        The modules, each once. Hold on to them until the plugins are loaded, since the compiler
        does not.
    """
    wanted: dict[tuple[str, str], ModuleSource] = {}
    for config in configs:
        try:
            source = read_source(config.vm_config)
        except PluginLoadError:
            continue
        wanted[config.vm_config.engine, source.sha256] = source
    modules: list[Module] = []
    if len(wanted) < 2:
        return modules  # there is nothing to do side by side
    with ThreadPoolExecutor(os.cpu_count(), "anywasm-compile") as threads:
        compiling = {
            threads.submit(compiler.compile, engine, source): source
            for (engine, _), source in wanted.items()
        }
        for count, done in enumerate(as_completed(compiling), 1):
            if done.exception() is None:
                modules.append(done.result())
            _log.info("modules: %d of %d ready (%s)", count, len(wanted), compiling[done].place)
    return modules
