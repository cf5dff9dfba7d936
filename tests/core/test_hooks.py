"""Plugins may implement hooks of layers that are imported after them."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
from collections.abc import Callable

import pytest

import anywasm
import anywasm.abi
import anywasm.server
from anywasm.core.hooks import KNOWN_HOOKS, manager, register_plugin, unregister_plugin
from anywasm.core.hookspecs import hookimpl

Run = Callable[..., subprocess.CompletedProcess[str]]

BEFORE = """
import sys
from anywasm.core import hookimpl
from anywasm.core.hooks import register_plugin

class Stores:
    @hookimpl
    def register_state_stores(self, {arguments}):
        register("later", None, None)

class Engines:
    @hookimpl
    def register_engines(self, register):
        pass

register_plugin(Stores())
register_plugin(Engines())
assert "anywasm.server" not in sys.modules
"""


def test_plugin_comes_before_the_layer_of_its_hook(run_python: Run) -> None:
    after = "from anywasm.server.state import known_state_store_types as known\nprint(known())"
    source = BEFORE.format(arguments="register") + after
    assert "'later'" in run_python(source).stdout


def test_plugin_is_held_to_its_hook_once_the_layer_is_there(run_python: Run) -> None:
    after = """
try:
    import anywasm.server.state
except Exception as error:
    print(type(error).__name__, error)
"""
    told = run_python(BEFORE.format(arguments="register, what") + after).stdout
    assert told.startswith("PluginValidationError")
    assert "'what'" in told


def test_unknown_hook_may_be_optional() -> None:
    class Farsighted:
        @hookimpl(optionalhook=True)
        def register_something_to_come(self) -> None:
            pass

    plugin = Farsighted()
    register_plugin(plugin)
    assert manager.is_registered(plugin)
    unregister_plugin(plugin)
    assert not manager.is_registered(plugin)


def test_refusal_of_one_plugin_is_no_refusal_of_the_next() -> None:
    class Wrong:
        @hookimpl
        def register_nothing(self) -> None:
            pass

    class Right:
        @hookimpl
        def register_engines(self, register: object) -> None:
            pass

    with pytest.raises(Exception, match="unknown hook 'register_nothing'"):
        register_plugin(Wrong())
    plugin = Right()
    register_plugin(plugin)
    unregister_plugin(plugin)


def test_every_hook_of_every_layer_is_known() -> None:
    for layer in (anywasm.abi, anywasm.server):
        for module in pkgutil.walk_packages(layer.__path__, f"{layer.__name__}."):
            importlib.import_module(module.name)
    hooks = {name for name in vars(manager.hook) if getattr(manager.hook, name).has_spec()}
    assert hooks == KNOWN_HOOKS
