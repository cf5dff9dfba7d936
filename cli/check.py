"""`anywasm start --check-only`."""

from __future__ import annotations

from pathlib import Path

import typer

from anywasm.abi.versions import abi_version
from anywasm.core.errors import AnyWasmError, ConfigError
from anywasm.plugins.compiler import ModuleCompiler
from anywasm.plugins.config import LoadedConfig, PluginConfig
from anywasm.plugins.source import read_source
from anywasm.server.state import open_state_store


def check(path: Path, loaded: LoadedConfig) -> None:
    """Do everything that comes before starting guests and connecting, and say that it is good.

    Raises:
        ConfigError: For the first thing that is wrong.
    """
    for notice in loaded.notices:
        typer.echo(notice, err=True)
    config = loaded.config
    for name, store in config.state_stores.items():
        open_state_store(name, store).close()
    compiler = ModuleCompiler()
    for plugin in config.plugins:
        _check_plugin(plugin, compiler)
    typer.echo(
        f"{path}: good; listeners: {len(config.listeners)}, plugins: {len(config.plugins)}, "
        f"state stores: {len(config.state_stores)}"
    )


def _check_plugin(plugin: PluginConfig, compiler: ModuleCompiler) -> None:
    try:
        source = read_source(plugin.vm_config)
        abi_version(compiler.compile(plugin.vm_config.engine, source))
    except AnyWasmError as error:
        raise ConfigError(f"plugin {plugin.name!r}: {error}") from error
