"""Changed files are taken up, however they were changed; wrong ones are not."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anywasm.plugins.watcher import PluginWatcher

MakeGuest = Callable[..., bytes]


def until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture
def watched(wasmtime_stage: Any) -> Iterator[Any]:
    """A stage whose files are watched."""
    watcher = PluginWatcher(wasmtime_stage.manager)
    watcher.start()
    yield wasmtime_stage
    watcher.close()
    assert not watcher._thread.is_alive()


def seen(stage: Any, name: str = "plugin") -> bool:
    """Whether the watcher has had its first look at the plugin's file."""
    (watcher,) = [h for h in stage.manager._handlers if isinstance(h, PluginWatcher)]
    return watcher._seen.get(name) is not None


def answers(stage: Any, body: bytes) -> None:
    until(lambda: stage.ask().body == body)


def test_a_file_written_in_place(watched: Any, make_guest: MakeGuest) -> None:
    wrapper = watched.add()
    (watched.folder / "plugin.wasm").write_bytes(make_guest(default="aa"))
    answers(watched, b"okok")
    until(lambda: wrapper.reloads == 1)


def test_a_file_that_another_is_renamed_to(watched: Any, make_guest: MakeGuest) -> None:
    watched.add()
    until(lambda: seen(watched))
    new = watched.folder / "new"
    new.write_bytes(make_guest(default="aa"))
    new.replace(watched.folder / "plugin.wasm")
    answers(watched, b"okok")


def test_a_file_that_goes_and_comes_again(watched: Any, make_guest: MakeGuest) -> None:
    wrapper = watched.add()
    until(lambda: seen(watched))
    path = watched.folder / "plugin.wasm"
    path.unlink()
    time.sleep(0.5)
    assert watched.ask().body == b"ok"
    assert wrapper.last_error is None
    path.write_bytes(make_guest(default="aa"))
    answers(watched, b"okok")


def test_a_touched_file_changes_nothing(watched: Any, make_guest: MakeGuest) -> None:
    wrapper = watched.add()
    until(lambda: seen(watched))
    path = watched.folder / "plugin.wasm"
    (watcher,) = [h for h in watched.manager._handlers if isinstance(h, PluginWatcher)]
    before = watcher._seen["plugin"]
    os.utime(path, (1, 1))
    until(lambda: watcher._seen["plugin"] != before)
    assert (wrapper.reloads, wrapper.last_error) == (0, None)


def test_a_half_written_file_takes_nothing_away(watched: Any, make_guest: MakeGuest) -> None:
    wrapper = watched.add()
    wasm = make_guest(default="aa")
    path = watched.folder / "plugin.wasm"
    path.write_bytes(wasm[: len(wasm) // 2])
    until(lambda: wrapper.last_error is not None)
    assert watched.ask().body == b"ok"
    with path.open("ab") as file:
        file.write(wasm[len(wasm) // 2 :])
    answers(watched, b"okok")
    # The new version answers a moment before the change counts as done.
    until(lambda: (wrapper.reloads, wrapper.last_error) == (1, None))


def test_two_plugins_with_one_file(watched: Any, make_guest: MakeGuest) -> None:
    first = watched.add("a")
    path = str(watched.folder / "a.wasm")
    config = watched.config("b", make_guest("g"), vm={"path": path})
    watched.manager.add(config)
    second = watched.manager.get("b")
    (watched.folder / "a.wasm").write_bytes(make_guest(default="aa"))
    until(lambda: (first.reloads, second.reloads) == (1, 1))
    watched.manager.uninstall("a")
    (watched.folder / "a.wasm").write_bytes(make_guest(default="aaa"))
    answers(watched, b"okokok")


def test_a_swapped_link_as_kubernetes_does_it(watched: Any, make_guest: MakeGuest) -> None:
    volume = watched.folder / "volume"
    for version, default in (("..1", "a"), ("..2", "aa"), ("..3", "aaa")):
        (volume / version).mkdir(parents=True)
        (volume / version / "plugin.wasm").write_bytes(make_guest(default=default))
    (volume / "..data").symlink_to("..1")
    (volume / "plugin.wasm").symlink_to("..data/plugin.wasm")
    watched.manager.add(watched.config("plugin", vm={"path": str(volume / "plugin.wasm")}))
    for version, body in (("..2", b"okok"), ("..3", b"okokok")):
        (volume / "..tmp").symlink_to(version)
        (volume / "..tmp").replace(volume / "..data")
        answers(watched, body)


def test_a_file_that_is_not_what_was_pinned(watched: Any, make_guest: MakeGuest) -> None:
    wasm = make_guest()
    wrapper = watched.add(wasm=wasm, vm={"sha256": hashlib.sha256(wasm).hexdigest()})
    path = watched.folder / "plugin.wasm"
    path.write_bytes(make_guest(default="aa"))
    until(lambda: wrapper.last_error is not None)
    assert "is pinned" in wrapper.last_error
    assert watched.ask().body == b"ok"
    path.write_bytes(wasm)
    time.sleep(0.5)
    assert wrapper.reloads == 0


def test_a_folder_that_comes_later_is_watched_too(watched: Any, make_guest: MakeGuest) -> None:
    folder: Path = watched.folder / "a" / "b"
    folder.mkdir(parents=True)
    path = folder / "m.wasm"
    path.write_bytes(make_guest())
    watched.manager.add(watched.config("plugin", vm={"path": str(path)}))
    path.write_bytes(make_guest(default="aa"))
    answers(watched, b"okok")


def test_a_link_to_itself_does_not_end_the_watch(watched: Any, make_guest: MakeGuest) -> None:
    watched.add("a")
    watched.add("b", make_guest("g"))
    path = watched.folder / "b.wasm"
    path.unlink()
    path.symlink_to("b.wasm")
    time.sleep(0.5)
    (watched.folder / "a.wasm").write_bytes(make_guest(default="aa"))
    answers(watched, b"okok")


def test_a_handler_that_fails_does_not_end_the_watch(
    watched: Any, make_guest: MakeGuest, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        objects = False

        def on_config_update(self, config: Any) -> None:
            if self.objects:
                raise ValueError("no")

        def on_plugin_start(self, plugin: Any) -> None: ...

        def on_plugin_destroy(self, plugin: Any) -> None: ...

    handler = Failing()
    watched.manager.add_handler(handler)
    wrapper = watched.add()
    handler.objects = True
    with caplog.at_level(logging.CRITICAL, "anywasm.plugins"):
        (watched.folder / "plugin.wasm").write_bytes(make_guest(default="aa"))
        until(lambda: wrapper.last_error == "no")
    handler.objects = False
    (watched.folder / "plugin.wasm").write_bytes(make_guest(default="aaa"))
    answers(watched, b"okokok")


def test_no_call_fails_while_files_change(watched: Any, make_guest: MakeGuest, later: Any) -> None:
    wrapper = watched.add(instance_num=2)
    stop: list[bool] = []

    def load() -> int:
        count = 0
        while not stop:
            assert watched.ask().body in (b"ok", b"okok")
            count += 1
        return count

    loads = [later(load) for _ in range(2)]
    try:
        for reload in range(1, 4):
            new = watched.folder / "new"
            new.write_bytes(make_guest(default="a" * (1 + reload % 2)))
            new.replace(watched.folder / "plugin.wasm")
            until(lambda reload=reload: wrapper.reloads == reload)  # type: ignore[misc]
    finally:
        stop.append(True)
    assert all(future.result(20) for future in loads)
