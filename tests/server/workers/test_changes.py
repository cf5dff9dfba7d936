"""What changes while several workers serve: plugins through the management API, and SIGHUP."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import Any


def test_an_install_reaches_every_worker(serving: Any, tools: Any) -> None:
    server = serving()
    status, plugin = server.manage("/wasm/install", tools.plugin("pid"))
    assert (status, plugin["instances"]) == (200, {"running": 2, "idle": 2})
    with tools.load(server):
        tools.eventually(lambda: {int(server.ask()[1]) for _ in range(8)} == set(server.pids))
    assert server.manage("/wasm/update", {"name": "pid", "instance_num": 3})[0] == 200
    # Who comes later begins with what was changed.
    os.kill(server.pids[0], signal.SIGKILL)
    tools.eventually(lambda: server.workers[0]["restarts"] == 1)
    tools.eventually(lambda: server.workers[0]["state"] == "ready")
    (listed,) = server.manage("/wasm/list")[1]["plugins"]
    assert (listed["instance_num"], listed["instances"]["running"]) == (3, 6)
    assert server.manage("/wasm/uninstall", {"name": "pid"})[0] == 200
    assert server.manage("/wasm/list")[1] == {"plugins": []}
    assert server.ask()[0] == 404


def test_all_workers_refuse_alike(serving: Any, tools: Any) -> None:
    server = serving("pid")
    assert server.manage("/wasm/install", {"name": "x"}) == (400, {"error": "nil vm config"})
    status, body = server.manage("/wasm/install", tools.plugin("pid"))
    assert (status, body) == (409, {"error": "pid is already registered"})
    status, body = server.manage("/wasm/update", {"name": "pid", "instance_num": 1})
    assert (status, list(body)) == (200, ["unchanged"])


def test_a_module_that_takes_too_long_to_compile_is_refused_while_all_serve(
    serving: Any, tools: Any, nested_loops: bytes
) -> None:
    server = serving("pid")
    path = tools.folder / "hostile.wasm"
    path.write_bytes(nested_loops)
    vm_config = {"engine": "wasmtime", "path": str(path), "compile_timeout": "2s"}
    with tools.load(server) as load:
        status, body = server.manage("/wasm/install", {"name": "x", "vm_config": vm_config})
        load.wait()
    assert status == 422
    assert "vm_config.compile_timeout" in body["error"]
    assert (load.bad, load.broken, load.refused) == ([], [], 0)
    assert [plugin["name"] for plugin in server.manage("/wasm/list")[1]["plugins"]] == ["pid"]


def test_what_one_worker_cannot_do_none_does(serving: Any, tools: Any) -> None:
    server = serving("pid")
    status, body = server.manage("/wasm/install", tools.plugin("picky"))
    assert status == 422
    assert sorted(body["workers"]) == ["1", "2"]
    (failed,) = (number for number, said in body["workers"].items() if said != "changed back")
    assert f"worker {failed}: plugin 'picky' cannot start" in body["error"]
    assert [plugin["name"] for plugin in server.manage("/wasm/list")[1]["plugins"]] == ["pid"]
    # An update, too: what served before is there again.
    (tools.folder / "taken").unlink()
    update = {**tools.plugin("picky"), "name": "pid"}
    status, body = server.manage("/wasm/update", update)
    assert (status, "changed back" in body["workers"].values()) == (422, True)
    assert server.ask()[0] == 200
    (listed,) = server.manage("/wasm/list")[1]["plugins"]
    assert (listed["id"], listed["path"]) == ("pid", str(tools.folder / "pid.null"))


def test_a_worker_that_dies_during_an_install_is_told(serving: Any, tools: Any) -> None:
    server = serving()
    victim = server.pids[0]
    # It cannot answer, and ends before it does.
    os.kill(victim, signal.SIGSTOP)
    answers: list[Any] = []
    asking = threading.Thread(
        target=lambda: answers.append(server.manage("/wasm/install", tools.plugin("pid")))
    )
    asking.start()
    server.until("plugin pid: serves")
    os.kill(victim, signal.SIGKILL)
    asking.join()
    ((status, body),) = answers
    assert (status, body["workers"]["2"]) == (503, "changed back")
    assert "worker 1: it ended before it answered" in body["error"]
    tools.eventually(lambda: server.workers[0]["state"] == "ready")
    assert server.manage("/wasm/list")[1] == {"plugins": []}


def test_a_hang_up_under_load_loses_nothing(serving: Any, tools: Any) -> None:
    server = serving("pid")
    before = set(server.pids)
    with tools.load(server) as load:
        tools.config("pid", "slow")
        server.signal(signal.SIGHUP)
        server.until("the old ones finish")
        tools.eventually(lambda: all(map(tools.gone, before)))
        load.wait()
    assert (load.refused, load.bad, load.broken) == (0, [], [])
    assert not before & set(server.pids)
    names = [plugin["name"] for plugin in server.manage("/wasm/list")[1]["plugins"]]
    assert names == ["pid", "slow"]


def test_a_hang_up_with_a_wrong_configuration_changes_nothing(serving: Any, tools: Any) -> None:
    server = serving("pid")
    before = server.pids
    config = tools.folder / "config.json"
    good = config.read_text()
    config.write_text(good.replace("pid.null", "none.null"))
    server.signal(signal.SIGHUP)
    error = server.until("the reload has failed")
    assert "cannot read the module" in error["event"]
    config.write_text("{")
    server.signal(signal.SIGHUP)
    server.until("the reload has failed", 2)
    assert (server.pids, server.ask()[0]) == (before, 200)


def test_a_hang_up_takes_up_other_listeners(serving: Any, tools: Any) -> None:
    server = serving("pid")
    data = json.loads((tools.folder / "config.json").read_text())
    path = tools.folder / "s"
    data["listeners"].append({"name": "more", "address": f"unix:{path}"})
    tools.config("pid", listeners=data["listeners"], workers=3)
    server.signal(signal.SIGHUP)
    server.until("reloaded: 3 workers")
    assert path.is_socket()
    assert server.ask()[0] == 200
    tools.config("pid")
    server.signal(signal.SIGHUP)
    server.until("reloaded: 2 workers")
    tools.eventually(lambda: not path.exists())
    assert server.ask()[0] == 200
