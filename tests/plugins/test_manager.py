"""Plugins added, updated and removed, and who hears of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.enums import StreamType
from anywasm.plugins.errors import (
    FunctionNotFoundError,
    PluginExistsError,
    PluginLoadError,
    PluginNotFoundError,
    PluginStartError,
    SameConfigError,
)
from anywasm.plugins.manager import Change

MakeGuest = Callable[..., bytes]


def until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


class Listener:
    """Writes down what it hears; fails where it is told to."""

    def __init__(self, fail: str = "") -> None:
        self.heard: list[tuple[str, str, Any]] = []
        self.fail = fail

    def _hear(self, what: str, name: str, detail: Any) -> None:
        self.heard.append((what, name, detail))
        if what == self.fail:
            self.fail = ""
            raise ValueError("the handler objects")

    def on_config_update(self, config: Any) -> None:
        self._hear("config", config.name, config.instance_num)

    def on_plugin_start(self, plugin: Any) -> None:
        self._hear("start", plugin.name, plugin.version)

    def on_plugin_destroy(self, plugin: Any) -> None:
        self._hear("destroy", plugin.name, plugin.version)


def test_a_plugin_is_added_once(stage: Any) -> None:
    stage.add()
    with pytest.raises(PluginExistsError, match="'plugin' is installed already"):
        stage.add()
    assert [wrapper.name for wrapper in stage.manager.list()] == ["plugin"]


def test_an_unknown_plugin_is_named_with_the_known_ones(stage: Any) -> None:
    stage.add("known")
    calls: tuple[Callable[[], object], ...] = (
        lambda: stage.manager.get("none"),
        lambda: stage.manager.uninstall("none"),
        lambda: stage.manager.reload("none"),
        lambda: stage.manager.resize("none", 2),
    )
    for call in calls:
        with pytest.raises(PluginNotFoundError, match=r"no plugin named 'none'.*installed: known"):
            call()


@pytest.mark.parametrize(
    ("life", "message"),
    [
        ({"on_vm_start": "(i32.const 0)"}, "proxy_on_vm_start returned false"),
        ({"on_configure": "(i32.const 0)"}, "proxy_on_configure returned false"),
        ({"on_configure": "unreachable"}, "trap"),
    ],
)
def test_a_plugin_that_does_not_start_is_not_there(
    stage: Any, make_guest: MakeGuest, life: dict[str, str], message: str
) -> None:
    with pytest.raises(PluginStartError, match=message):
        stage.add(wasm=make_guest(**life))
    assert stage.manager.list() == ()
    stage.add()
    assert stage.ask("a").body == b"ok"


def test_the_same_again_is_refused(stage: Any) -> None:
    stage.add()
    config = stage.manager.get("plugin").plugin.config
    with pytest.raises(SameConfigError):
        stage.manager.add_or_update(config)
    with pytest.raises(SameConfigError):
        stage.manager.reload("plugin")
    assert stage.manager.get("plugin").reloads == 0


def test_add_or_update_says_which(stage: Any, make_guest: MakeGuest) -> None:
    config = stage.config("p", make_guest())
    assert stage.manager.add_or_update(config) is Change.ADDED
    changed = stage.config("p", timeouts={"call": 2.0})
    assert stage.manager.add_or_update(changed) is Change.UPDATED
    assert stage.manager.get("p").reloads == 1


def test_a_resize_keeps_the_version(stage: Any) -> None:
    wrapper = stage.add()
    version = wrapper.plugin.version
    stage.manager.resize("plugin", 3)
    assert stage.pool().size == stage.pool().idle == 3
    assert (wrapper.plugin.version, wrapper.plugin.config.instance_num) == (version, 3)
    stage.manager.resize("plugin", 1)
    assert len(stage.pool().slots) == 1


@pytest.mark.parametrize("bad", [b"junk", b"", {"on_configure": "(i32.const 0)"}])
def test_a_failed_update_keeps_what_serves(stage: Any, make_guest: MakeGuest, bad: Any) -> None:
    wrapper = stage.add()
    plugin = wrapper.plugin
    wasm = make_guest(**bad) if isinstance(bad, dict) else bad
    (stage.folder / "plugin.wasm").write_bytes(wasm)
    with pytest.raises((PluginLoadError, PluginStartError)) as caught:
        stage.manager.reload("plugin")
    assert wrapper.plugin is plugin
    assert wrapper.last_error == str(caught.value)
    assert stage.ask("a").body == b"ok"
    (stage.folder / "plugin.wasm").write_bytes(make_guest(default="e"))
    stage.manager.reload("plugin")
    assert wrapper.last_error is None
    assert stage.ask().status == 204


def test_a_reload_with_another_id_leaves_no_old_route(stage: Any, make_guest: MakeGuest) -> None:
    stage.add()
    (stage.folder / "plugin.wasm").write_bytes(make_guest("g"))
    stage.manager.reload("plugin")
    assert stage.router.ids == ("g",)
    assert stage.ask(id="g").body == b"ok"
    with pytest.raises(FunctionNotFoundError):
        stage.ask(id="f")


def test_a_replaced_version_drains(stage: Any, make_guest: MakeGuest, later: Any) -> None:
    wrapper = stage.add()
    old = stage.pool()
    waiting = later(stage.ask, "p")
    until(lambda: old.idle == 1 and old.slots[0].streams == 1)
    slot = old.slots[0]
    (stage.folder / "plugin.wasm").write_bytes(make_guest(default="e"))
    stage.manager.reload("plugin")
    assert stage.ask().status == 204
    assert not slot.guest.instance.closed
    answer = slot.guest.context(2)
    answer.buffers[1].set(0, 0, b"late")
    answer.continued |= {StreamType.HTTP_REQUEST}
    answer.driver.notify()
    assert waiting.result(20).body == b"late"
    until(lambda: slot.guest.instance.closed)
    assert wrapper.reloads == 1


def test_handlers_hear_of_each_change_once_and_in_order(stage: Any, make_guest: MakeGuest) -> None:
    listener = Listener()
    stage.add("a")
    stage.manager.add_handler(listener)
    stage.manager.add_handler(listener)
    first = stage.manager.get("a").plugin.version
    assert listener.heard == [("config", "a", 1), ("start", "a", first)]
    listener.heard.clear()
    (stage.folder / "a.wasm").write_bytes(make_guest(default="e"))
    stage.manager.reload("a")
    second = stage.manager.get("a").plugin.version
    stage.manager.resize("a", 2)
    stage.manager.uninstall("a")
    assert listener.heard == [
        *(("config", "a", 1), ("start", "a", second), ("destroy", "a", first)),
        ("config", "a", 2),
        ("destroy", "a", second),
    ]


@pytest.mark.parametrize("fail", ["config", "start"])
def test_a_handler_can_stop_an_addition(stage: Any, fail: str) -> None:
    listener = Listener(fail)
    stage.manager.add_handler(listener)
    with pytest.raises(ValueError, match="objects"):
        stage.add()
    assert stage.manager.list() == ()
    assert listener.heard[-1][0] == "destroy"
    # No route may lead to it, or callers would look for it for ever.
    with pytest.raises(FunctionNotFoundError):
        stage.ask("a")
    stage.add()
    assert stage.ask("a").body == b"ok"


@pytest.mark.parametrize("fail", ["config", "start"])
def test_a_handler_can_stop_an_update(stage: Any, make_guest: MakeGuest, fail: str) -> None:
    listener = Listener()
    stage.manager.add_handler(listener)
    wrapper = stage.add()
    old = wrapper.plugin
    listener.fail = fail
    listener.heard.clear()
    (stage.folder / "plugin.wasm").write_bytes(make_guest("g", default="e"))
    with pytest.raises(ValueError, match="objects"):
        stage.manager.reload("plugin")
    assert wrapper.plugin is old
    assert stage.router.ids == ("f",)
    assert stage.ask("a").body == b"ok"
    assert listener.heard[-3:-1] == [("config", "plugin", 1), ("start", "plugin", old.version)]
    assert listener.heard[-1][0] == "destroy"


def test_a_handler_cannot_stop_an_end(stage: Any) -> None:
    stage.manager.add_handler(Listener("destroy"))
    stage.add()
    slot = stage.pool().slots[0]
    stage.manager.uninstall("plugin")
    until(lambda: slot.guest.instance.closed)
    assert stage.router.ids == ()


def test_an_uninstalled_plugin_is_not_updated_by_who_still_holds_it(
    stage: Any, make_guest: MakeGuest
) -> None:
    wrapper = stage.add()
    config = wrapper.plugin.config
    stage.manager.uninstall("plugin")
    (stage.folder / "plugin.wasm").write_bytes(make_guest(default="e"))
    with pytest.raises(PluginNotFoundError):
        wrapper.update(config)
    assert stage.router.ids == ()
    stage.add()
    assert stage.ask("a").body == b"ok"


def test_closing_frees_everything_and_may_be_repeated(stage: Any) -> None:
    slots = [slot for name in "abc" for slot in (stage.add(name), stage.pool(name))[1].slots]
    stage.manager.close()
    stage.manager.close()
    assert all(slot.guest.instance.closed for slot in slots)
    assert stage.said.count("delete") == 3


def test_no_call_fails_while_versions_change(stage: Any, make_guest: MakeGuest, later: Any) -> None:
    stage.add(timeouts={"lease": 20.0, "request": 30.0, "call": 20.0})
    versions = [make_guest(default="a"), make_guest(default="aa")]
    stop: list[bool] = []

    def load() -> int:
        count = 0
        while not stop:
            assert stage.ask().body in (b"ok", b"okok")
            count += 1
        return count

    loads = [later(load) for _ in range(3)]
    for number in range(10):
        (stage.folder / "plugin.wasm").write_bytes(versions[(number + 1) % 2])
        stage.manager.reload("plugin")
        stage.manager.resize("plugin", (4, 1)[number % 2])
    stop.append(True)
    assert all(future.result(60) for future in loads)
