"""Any order of changes to plugins, good and bad: what serves, who hears of it, what is freed."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import wasmtime
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from anywasm.abi.guest import Guest
from anywasm.abi.host import HostServices
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import (
    PluginExistsError,
    PluginLoadError,
    PluginNotFoundError,
    PluginStartError,
    SameConfigError,
)
from anywasm.plugins.host import PluginHost
from anywasm.plugins.manager import Change, PluginManager
from anywasm.plugins.plugin import Plugin

NAMES = st.sampled_from("ab")
#: What a plugin's file has: modules that start, one that refuses to, one that is none.
CONTENTS = st.sampled_from(["1", "2", "3", "refuses", "broken"])
GOOD = frozenset("123")


@cache
def wasm(content: str) -> bytes:
    if content == "broken":
        return b"\0asm no module"
    result = 0 if content == "refuses" else 1
    return bytes(
        wasmtime.wat2wasm(
            f'(module (memory (export "memory") 1) (data (i32.const 8) "{content}")'
            ' (func (export "proxy_abi_version_0_2_1"))'
            f' (func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const {result})'
            ' (func (export "malloc") (param i32) (result i32) i32.const 16))'
        )
    )


class ObjectionError(Exception):
    """What a handler refuses a change with."""


class Listener:
    """Knows what serves by what it was told; objects where it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, object]] = []
        self.serving: dict[str, Plugin] = {}
        self.ended: Counter[int] = Counter()
        self.objects_to = "nothing"

    def on_config_update(self, config: PluginConfig) -> None:
        self._hear("config", config.instance_num)

    def on_plugin_start(self, plugin: Plugin) -> None:
        self._hear("start", plugin.version)
        assert not self.ended[plugin.version]
        self.serving[plugin.name] = plugin

    def on_plugin_destroy(self, plugin: Plugin) -> None:
        self._hear("destroy", plugin.version)
        self.ended[plugin.version] += 1
        if self.serving.get(plugin.name) is plugin:
            del self.serving[plugin.name]

    def _hear(self, what: str, detail: object) -> None:
        self.heard.append((what, detail))
        if self.objects_to == what:
            self.objects_to = "nothing"
            raise ObjectionError(what)


class Managers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.host = PluginHost(HostServices())
        self.manager = PluginManager(self.host, drain_timeout=5.0)
        # One hears before and one after the one that objects.
        self.listeners = [Listener(), Listener(), Listener()]
        for listener in self.listeners:
            self.manager.add_handler(listener)
        self.contents = dict.fromkeys("ab", "1")
        for name in self.contents:
            self.write(name, "1")
        #: What should serve: content, instances and version.
        self.model: dict[str, tuple[str, int, int]] = {}
        self.newest = 0
        self.guests: list[Guest] = []

    def write(self, name: str, content: str) -> None:
        self.contents[name] = content
        Path(self.folder.name, f"{name}.wasm").write_bytes(wasm(content))

    def config(self, name: str, instances: int) -> PluginConfig:
        vm = {"engine": "wasmtime", "path": str(Path(self.folder.name, f"{name}.wasm"))}
        return PluginConfig.model_validate(
            {"name": name, "vm_config": vm, "instance_num": instances}
        )

    def change(self, name: str, instances: int, call: Callable[[], object]) -> object:
        """Make a change that may fail, and see that it did if it had to, and what was heard."""
        content, old = self.contents[name], self.model.get(name)
        objects_to = self.listeners[1].objects_to
        for listener in self.listeners:
            listener.heard.clear()
        if old is not None and old[:2] == (content, instances):
            with pytest.raises(SameConfigError):
                call()
            assert not any(listener.heard for listener in self.listeners)
            return None
        resized = old is not None and old[0] == content
        if content not in GOOD:
            with pytest.raises((PluginLoadError, PluginStartError)):
                call()
            assert not any(listener.heard for listener in self.listeners)
            return None
        if objects_to == "config" or (objects_to == "start" and not resized):
            with pytest.raises(ObjectionError):
                call()
            for listener in self.listeners:
                if old is not None and resized:
                    assert listener.heard[-1] == ("config", old[1])
                elif old is not None:
                    assert listener.heard[-3:-1] == [("config", old[1]), ("start", old[2])]
            return None
        outcome = call()
        if old is not None and resized:
            self.model[name] = content, instances, old[2]
            told: list[tuple[str, object]] = [("config", instances)]
        else:
            version = self.manager.get(name).plugin.version
            assert version > self.newest
            self.newest = version
            self.model[name] = content, instances, version
            told = [("config", instances), ("start", version)]
            if old is not None:
                told.append(("destroy", old[2]))
        assert [listener.heard for listener in self.listeners] == [told] * 3
        return outcome

    @rule(name=NAMES, content=CONTENTS)
    def replace_the_file(self, name: str, content: str) -> None:
        self.write(name, content)

    @rule(what=st.sampled_from(["nothing", "config", "start"]))
    def object_to_the_next(self, what: str) -> None:
        self.listeners[1].objects_to = what

    @rule(name=NAMES, instances=st.integers(1, 3))
    def add_or_update(self, name: str, instances: int) -> None:
        known = name in self.model
        config = self.config(name, instances)
        outcome = self.change(name, instances, lambda: self.manager.add_or_update(config))
        assert outcome in (None, Change.UPDATED if known else Change.ADDED)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def add_again(self, data: st.DataObject) -> None:
        with pytest.raises(PluginExistsError):
            self.manager.add(self.config(data.draw(st.sampled_from(sorted(self.model))), 1))

    @rule(name=NAMES)
    def reload(self, name: str) -> None:
        if name in self.model:
            self.change(name, self.model[name][1], lambda: self.manager.reload(name))
        else:
            with pytest.raises(PluginNotFoundError):
                self.manager.reload(name)

    @rule(name=NAMES, instances=st.integers(1, 3))
    def resize(self, name: str, instances: int) -> None:
        if name in self.model:
            self.change(name, instances, lambda: self.manager.resize(name, instances))
        else:
            with pytest.raises(PluginNotFoundError):
                self.manager.resize(name, instances)

    @rule(name=NAMES)
    def uninstall(self, name: str) -> None:
        for listener in self.listeners:
            listener.heard.clear()
        old = self.model.pop(name, None)
        if old is None:
            with pytest.raises(PluginNotFoundError):
                self.manager.uninstall(name)
            return
        self.manager.uninstall(name)
        assert [each.heard for each in self.listeners] == [[("destroy", old[2])]] * 3

    @invariant()
    def what_serves_is_what_should(self) -> None:
        serving = {wrapper.name: wrapper.plugin for wrapper in self.manager.list()}
        assert serving.keys() == self.model.keys()
        for name, plugin in serving.items():
            content, instances, version = self.model[name]
            assert wasm(content) == plugin.source.wasm
            assert (plugin.version, plugin.config.instance_num) == (version, instances)
            slots: Any = plugin.functions.slots
            assert [slot.guest.closed for slot in slots] == [False] * instances
        for listener in self.listeners:
            assert listener.serving == serving
            assert set(listener.ended.values()) <= {0, 1}
        known = set(map(id, self.guests))
        self.guests += [guest for guest in tuple(self.host.guests) if id(guest) not in known]

    def teardown(self) -> None:
        self.manager.close()
        assert all(guest.closed for guest in self.guests)
        assert self.manager.live_guests == 0
        for listener in self.listeners:
            assert not listener.serving
            assert set(listener.ended.values()) <= {0, 1}
        self.folder.cleanup()


TestManagers = Managers.TestCase
TestManagers.settings = settings(max_examples=20, stateful_step_count=25)
