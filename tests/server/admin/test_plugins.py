"""Installing, updating, uninstalling and listing plugins over HTTP, with Layotto's messages."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

LOOP = "(loop $again (br $again)) (i32.const 0)"


@pytest.fixture
def running(managing: Any) -> Any:
    """A server without plugins."""
    return managing()


def test_install_serves_at_once(running: Any, guest: Any, engine: str) -> None:
    plugin = guest.plugin("hello", guest.answers("hello"), engine, instance_num=2)
    answer = running.manage("install", plugin)
    assert answer.status == 200
    assert answer.json["id"] == "hello"
    assert answer.json["engine"] == engine
    assert answer.json["instance_num"] == 2
    assert answer.json["instances"] == {"running": 2, "idle": 2}
    assert running.ask(id="hello").body == b"hello"


def test_list(running: Any, guest: Any) -> None:
    assert running.manage("list").json == {"plugins": []}
    for name in ("b", "a"):
        running.manage("install", guest.plugin(name, guest.answers(name)))
    listed = running.manage("list").json["plugins"]
    assert [item["name"] for item in listed] == ["b", "a"]
    assert listed[0].keys() >= {"id", "engine", "path", "sha256", "version", "last_error"}


def test_install_of_an_existing_one(running: Any, guest: Any) -> None:
    first = guest.plugin("hello", guest.answers("first"))
    assert running.manage("install", first).status == 200
    answer = running.manage("install", guest.plugin("hello", guest.answers("second")))
    assert answer.status == 409
    assert answer.json == {"error": "hello is already registered"}
    assert running.ask(id="hello").body == b"first"


def test_install_under_the_id_of_another(running: Any, guest: Any) -> None:
    plugin = guest.plugin("hello", guest.answers("hello"))
    assert running.manage("install", plugin | {"name": "other"}).status == 200
    answer = running.manage("install", guest.plugin("hello", guest.answers("second")))
    assert answer.status == 409
    assert answer.json == {"error": "hello is already registered"}


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot read"), (b"", "is empty"), (b"\0asm\1\0\0\0\xff", "bad.wasm")],
    ids=["missing", "empty", "malformed"],
)
def test_install_that_does_not_load(
    running: Any, tmp_path: Path, engine: str, content: bytes | None, told: str
) -> None:
    path = tmp_path / "bad.wasm"
    if content is not None:
        path.write_bytes(content)
    body = {"name": "bad", "vm_config": {"engine": engine, "path": str(path)}}
    answer = running.manage("install", body)
    assert answer.status == 422
    assert told in answer.json["error"]
    assert running.manage("list").json == {"plugins": []}


def test_install_that_does_not_start_leaves_the_name_free(running: Any, guest: Any) -> None:
    bad = guest.plugin("hello", guest.answers("hello"), start="unreachable")
    answer = running.manage("install", bad)
    assert answer.status == 422
    assert "proxy_on_configure" in answer.json["error"] or "unreachable" in answer.json["error"]
    assert running.ask(id="hello").status == 404
    good = guest.plugin("hello", guest.answers("hello"))
    assert running.manage("install", good).status == 200
    assert running.ask(id="hello").body == b"hello"


def test_install_with_the_wrong_checksum(running: Any, guest: Any) -> None:
    plugin = guest.plugin("hello", guest.answers("hello"))
    plugin["vm_config"]["sha256"] = "0" * 64
    answer = running.manage("install", plugin)
    assert answer.status == 422
    assert "0" * 64 in answer.json["error"]


def test_concurrent_installs_of_one_name(running: Any, guest: Any) -> None:
    plugins = [guest.plugin("hello", guest.answers(str(number))) for number in range(8)]
    start = threading.Barrier(len(plugins))
    answers: list[tuple[int, str]] = []

    def install(plugin: Any) -> None:
        start.wait()
        answer = running.manage("install", plugin)
        answers.append((answer.status, answer.json.get("path", answer.json.get("error"))))

    threads = [threading.Thread(target=install, args=(plugin,)) for plugin in plugins]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [status for status, _ in answers]
    assert sorted(statuses) == [200] + [409] * 7
    assert {told for status, told in answers if status == 409} == {"hello is already registered"}
    listed = running.manage("list").json["plugins"]
    assert [item["path"] for item in listed] == [told for status, told in answers if status == 200]
    winner = [plugin["vm_config"]["path"] for plugin in plugins].index(listed[0]["path"])
    assert running.ask(id="hello").body == str(winner).encode()


def test_uninstall_by_name_and_by_function_id(running: Any, guest: Any) -> None:
    plugin = guest.plugin("the-id", guest.answers("hello"))
    for name in ("the-name", "the-id"):
        assert running.manage("install", plugin | {"name": "the-name"}).status == 200
        assert running.ask(id="the-id").body == b"hello"
        answer = running.manage("uninstall", {"name": name})
        assert answer.status == 200
        assert answer.json == {"name": "the-name"}
        assert running.ask(id="the-id").status == 404
        assert running.manage("list").json == {"plugins": []}


def test_uninstall_by_an_id_of_several(running: Any, guest: Any) -> None:
    plugin = guest.plugin("shared", guest.answers("hello"))
    for name in ("one", "two"):
        assert running.manage("install", plugin | {"name": name}).status == 200
    answer = running.manage("uninstall", {"name": "shared"})
    assert answer.status == 400
    assert "one, two" in answer.json["error"]
    assert running.manage("uninstall", {"name": "one"}).status == 200
    assert running.ask(id="shared").body == b"hello"
    assert running.manage("uninstall", {"name": "shared"}).json == {"name": "two"}


@pytest.mark.parametrize("action", ["update", "uninstall"])
def test_unknown_name(running: Any, action: str) -> None:
    answer = running.manage(action, {"name": "nobody", "instance_num": 1})
    assert answer.status == 404
    assert answer.json == {"error": "nobody is not registered"}


def test_update_of_the_number_of_instances(running: Any, guest: Any, engine: str) -> None:
    running.manage("install", guest.plugin("hello", guest.answers("hello"), engine))
    for number in (4, 2):
        answer = running.manage("update", {"name": "hello", "instance_num": number})
        assert answer.status == 200
        assert answer.json["instance_num"] == number
        assert answer.json["instances"] == {"running": number, "idle": number}
        assert running.ask(id="hello").body == b"hello"
    again = running.manage("update", {"name": "hello", "instance_num": 2})
    assert again.status == 200
    assert "nothing has changed" in again.json["unchanged"]


def test_update_with_vm_config_replaces_the_module(running: Any, guest: Any, engine: str) -> None:
    running.manage("install", guest.plugin("hello", guest.answers("old"), engine))
    before = running.manage("list").json["plugins"][0]
    answer = running.manage("update", guest.plugin("hello", guest.answers("new"), engine))
    assert answer.status == 200
    assert answer.json["reloads"] == 1
    assert answer.json["version"] > before["version"]
    assert answer.json["sha256"] != before["sha256"]
    assert running.ask(id="hello").body == b"new"
    assert len(running.manage("list").json["plugins"]) == 1


def test_update_loses_no_request(running: Any, guest: Any, tools: Any, engine: str) -> None:
    versions = [guest.plugin("hello", guest.answers(text), engine) for text in ("old", "new")]
    running.manage("install", versions[0])
    seen: list[Any] = []
    enough = threading.Event()

    def ask() -> None:
        client = tools.Client(running.place())
        while not enough.is_set():
            seen.append(client.ask(id="hello"))
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(1, 7):
        assert running.manage("update", versions[turn % 2]).status == 200
    enough.set()
    for thread in threads:
        thread.join()
    assert {(answer.status, answer.body) for answer in seen} <= {(200, b"old"), (200, b"new")}
    assert running.ask(id="hello").body == b"old"


def test_update_that_fails_keeps_the_old_one(running: Any, guest: Any) -> None:
    running.manage("install", guest.plugin("hello", guest.answers("old")))
    bad = guest.plugin("hello", guest.answers("new"), start="unreachable")
    answer = running.manage("update", bad)
    assert answer.status == 422
    assert running.ask(id="hello").body == b"old"
    assert running.manage("list").json["plugins"][0]["last_error"] in answer.json["error"]


def test_update_by_function_id(running: Any, guest: Any) -> None:
    plugin = guest.plugin("the-id", guest.answers("hello")) | {"name": "the-name"}
    running.manage("install", plugin)
    answer = running.manage("update", {"name": "the-id", "instance_num": 3})
    assert (answer.json["name"], answer.json["instance_num"]) == ("the-name", 3)


def test_update_to_another_id(running: Any, guest: Any) -> None:
    plugin = guest.plugin("first", guest.answers("hello")) | {"name": "moves"}
    running.manage("install", plugin)
    running.manage("update", guest.plugin("second", guest.answers("hello")) | {"name": "moves"})
    assert running.ask(id="first").status == 404
    assert running.ask(id="second").body == b"hello"


def test_installed_plugin_is_watched(managing: Any, guest: Any, tools: Any) -> None:
    running = managing(watch=True)
    plugin = guest.plugin("hello", guest.answers("old"))
    running.manage("install", plugin)
    assert running.ask(id="hello").body == b"old"
    other = guest("hello", guest.answers("new"))
    shutil.copyfile(other, plugin["vm_config"]["path"])
    tools.eventually(lambda: running.ask(id="hello").body == b"new")


def test_slow_install_holds_up_nobody(running: Any, guest: Any, tools: Any, gate: Any) -> None:
    running.manage("install", guest.plugin("hello", guest.answers("hello")))
    slow = guest.plugin("slow", guest.answers("x"), start=LOOP, timeouts={"start": 1})
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(running.manage("install", slow)))
    thread.start()
    asked = 0
    while not answers:
        assert running.ask(id="hello").body == b"hello"
        assert running.manage("list").status == 200
        asked += 1
    thread.join()
    assert answers[0].status == 422
    assert asked > 1
