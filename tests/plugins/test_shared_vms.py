"""Filters that share a VM by `vm_id`: one guest, a root context each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from anywasm.abi.enums import LogLevel
from anywasm.abi.guest import Guest
from anywasm.abi.host import HostServices
from anywasm.core.errors import AnyWasmError, TrapError
from anywasm.plugins.config import PluginConfig
from anywasm.plugins.errors import PluginStartError
from anywasm.plugins.home import OwnThread
from anywasm.plugins.host import PluginHost
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.slot import Slot

Later = Callable[..., Future[Any]]

#: `proxy_on_configure`: traps with a configuration of 3 bytes, refuses one of 2.
CONFIGURE = (
    "(if (i32.eq (local.get 1) (i32.const 3)) (then unreachable))"
    "(i32.ne (local.get 1) (i32.const 2))"
)
NAMES = "abcd"


class Sharing:
    """A manager of filters that share, on a loop's stand-in: one thread that calls them all."""

    def __init__(self, folder: Path, module: bytes) -> None:
        self._folder = folder
        self._module = module
        self.lines: list[tuple[LogLevel, str, str]] = []
        self.home = OwnThread("test-home")
        services = HostServices(log=lambda *line: self.lines.append(line))
        host = PluginHost(services, filters=set(NAMES), filter_home=self._shared)
        self.vms = host.vms
        self.manager = PluginManager(host, drain_timeout=0.2)

    def _shared(self) -> OwnThread:
        return self.home

    def config(self, name: str, **options: Any) -> PluginConfig:
        path = self._folder / "shared.wasm"
        path.write_bytes(options.pop("module", self._module))
        vm = {"engine": "wasmtime", "path": str(path), "vm_id": "v", **options.pop("vm", {})}
        options.setdefault("execution", "inline")  # it imports what may block
        return PluginConfig.model_validate({"name": name, "vm_config": vm, **options})

    def add(self, name: str, **options: Any) -> Slot:
        self.manager.add(self.config(name, **options))
        return self.slot(name)

    def slot(self, name: str) -> Slot:
        slot: Slot = self.manager.get(name).plugin.filters.slots[0]
        return slot

    def guest(self, name: str) -> Guest:
        return self.slot(name).guest

    def said(self, name: str) -> list[str]:
        return [text.removeprefix("proxy_on_") for _, who, text in self.lines if who == name]


@pytest.fixture
def sharing(tmp_path: Path, make_guest: Callable[..., bytes]) -> Iterator[Sharing]:
    module = make_guest(
        "f",
        on_configure=CONFIGURE,
        on_delete=')(func (export "trap") unreachable',
    )
    made = Sharing(tmp_path, module)
    closing = made.home.close
    # The loop outlives its guests.
    made.home.close = lambda: None  # type: ignore[method-assign]
    yield made
    made.manager.close()
    closing()


def test_one_guest_with_a_root_context_each(sharing: Sharing) -> None:
    a, b = sharing.add("a"), sharing.add("b", root_id="other")
    assert a.guest is b.guest
    assert a.root is not b.root
    assert (a.root.plugin.name, b.root.plugin.root_id) == ("a", "other")
    assert sharing.said("b").count("configure") == 2  # once in a VM of its own, to try it out
    sharing.manager.uninstall("a")
    for thread in threading.enumerate():
        if thread.name.startswith("anywasm-retire"):
            thread.join()
    assert not b.guest.instance.closed
    assert sharing.said("a")[-2:] == ["done", "delete"]
    assert b.guest.context(b.root.id) is b.root
    assert b.guest.context(a.root.id) is None


@pytest.mark.parametrize(
    "options",
    [
        {"vm": {"vm_id": "w"}},
        {"vm": {"vm_id": ""}},
        {"vm": {"configuration": "other"}},
        {"vm": {"env": {"A": "1"}}},
        {"instance_num": 2},
        {"capabilities": ["proxy_log", "proxy_on_configure"]},
        {"max_memory_bytes": 1 << 24},
        {"timeouts": {"call": 2}},
        {"execution": "thread"},
    ],
)
def test_only_what_is_equal_is_shared(sharing: Sharing, options: dict[str, Any]) -> None:
    assert sharing.add("a").guest is not sharing.add("b", **options).guest


def test_the_last_to_leave_closes_it(sharing: Sharing) -> None:
    guest = sharing.add("a").guest
    sharing.add("b")
    sharing.manager.close()
    assert guest.instance.closed
    assert sharing.said("a").count("delete") == sharing.said("b").count("delete") - 1 == 1


@pytest.mark.parametrize("configuration", ["no", "bad"])
def test_one_that_cannot_start_leaves_the_others_alone(
    sharing: Sharing, configuration: str
) -> None:
    guest = sharing.add("a").guest
    with pytest.raises(PluginStartError):
        sharing.add("b", plugin_config=configuration)
    assert guest.failed is None
    assert not guest.instance.closed
    assert sharing.add("c").guest is guest
    # Neither does a reload of one of them.
    with pytest.raises(PluginStartError):
        sharing.manager.add_or_update(sharing.config("c", plugin_config=configuration))
    assert guest.failed is None
    assert sharing.slot("c").root.plugin.configuration == b""


def test_a_reload_of_one_moves_in_again(sharing: Sharing) -> None:
    a, b = sharing.add("a"), sharing.add("b")
    sharing.manager.add_or_update(sharing.config("b", plugin_config="new!"))
    new = sharing.slot("b")
    assert new.guest is a.guest is b.guest
    assert new.root is not b.root
    assert new.root.plugin.configuration == b"new!"


def test_it_breaks_for_all_and_is_made_anew_once(sharing: Sharing) -> None:
    plugins = [sharing.add(name) for name in "abc"]
    old = plugins[0].guest

    def break_() -> None:
        with pytest.raises(TrapError):
            old.call(plugins[0].root, old.instance.exports["trap"])

    sharing.home.run(break_)
    fresh = set()
    for name in "abc":
        pool = sharing.manager.get(name).plugin.filters
        slot = sharing.home.run(pool.bind)
        assert slot is not None
        fresh.add(slot.guest)
        pool.unbind(slot)
    assert len(fresh) == 1
    assert fresh != {old}
    assert old.instance.closed


def test_one_that_moves_in_does_not_meet_running_streams(sharing: Sharing, later: Later) -> None:
    slot = sharing.add("a")
    done = threading.Event()
    failures: list[AnyWasmError] = []

    def stream() -> None:
        guest = slot.guest
        try:
            guest.end(guest.create_stream(slot.root))
        except AnyWasmError as error:
            failures.append(error)

    def streams() -> int:
        count = 0
        while not done.is_set():
            sharing.home.run(stream)
            count += 1
        return count

    running = later(streams)
    for _ in range(10):
        sharing.add("b")
        sharing.manager.uninstall("b")
    done.set()
    assert running.result(20) > 0
    assert failures == []
    assert slot.guest.failed is None


def test_threads_of_their_own_are_shared_too(sharing: Sharing) -> None:
    a = sharing.add("a", execution="thread")
    b = sharing.add("b", execution="thread")
    assert a.guest is b.guest
    ran: list[str] = []
    done = threading.Event()
    for slot in (a, b):
        slot.home.post(lambda: ran.append(threading.current_thread().name))
    slot.home.post(done.set)
    assert done.wait(20)
    assert len(set(ran)) == 1
    sharing.manager.uninstall("a")
    for thread in threading.enumerate():
        if thread.name.startswith("anywasm-retire"):
            thread.join()
    # The first to leave does not take the thread away.
    assert b.home.run(lambda: threading.current_thread().name) == ran[0]
    sharing.manager.uninstall("b")
    for thread in threading.enumerate():
        if thread.name.startswith("anywasm-retire"):
            thread.join()
    assert ran[0] not in {thread.name for thread in threading.enumerate()}
