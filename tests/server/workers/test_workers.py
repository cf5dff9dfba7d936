from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest


def test_both_serve_and_the_supervisor_loads_no_engine(serving: Any, tools: Any) -> None:
    server = serving("pid", plugins=[tools.plugin("pid")])
    pids = set(server.pids)
    with tools.load(server):
        tools.eventually(lambda: {int(server.ask()[1]) for _ in range(8)} == pids)
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "wasmtime" not in maps
    assert server.process.pid not in pids
    assert server.manage("/readyz")[1]["status"] == "ready"
    assert server.stop() == 0
    assert all(map(tools.gone, pids))


def test_a_killed_worker_loses_only_what_was_in_it(serving: Any, tools: Any) -> None:
    server = serving("pid")
    before = server.pids
    with tools.load(server, clients=8) as load:
        os.kill(before[0], signal.SIGKILL)
        load.wait()
        tools.eventually(lambda: server.manage("/healthz")[1]["workers"][0]["state"] == "ready")
        load.wait()
    # Nobody was refused, and each connection of the dead worker broke once.
    assert load.refused == 0
    assert load.bad == []
    assert len(load.broken) == len(set(load.broken)) < 8 + 1
    assert server.pids[0] not in before
    assert server.pids[1] == before[1]
    event = server.until("has ended")
    assert (event["level"], "killed by SIGKILL" in event["event"]) == ("error", True)
    assert server.metric('anywasm_worker_restarts_total{reason="crash",worker="1"}') == 1


def test_a_worker_that_crashes_again_and_again_waits_longer_each_time(
    serving: Any, tools: Any
) -> None:
    server = serving("crashing")
    for count in range(1, 4):
        with pytest.raises(ConnectionError):
            server.ask("pid")
        server.until("killed by SIGSEGV", count)
        tools.eventually(lambda: server.manage("/readyz")[0] == 200)
    restarts = sum(worker["restarts"] for worker in server.workers)
    assert restarts == 3
    assert {worker["last_end"] for worker in server.workers} >= {"killed by SIGSEGV"}


def test_metrics_add_up_and_never_go_back(serving: Any, tools: Any) -> None:
    server = serving("pid")
    name = 'anywasm_function_requests_total{code="200",function="pid"}'
    with tools.load(server) as load:
        pass
    assert server.metric(name) == load.answers
    assert server.metric("anywasm_plugin_instances") == 2
    for pid in server.pids:
        os.kill(pid, signal.SIGKILL)
        server.until("has ended")
    tools.eventually(lambda: {worker["state"] for worker in server.workers} == {"ready"})
    assert server.metric(name) == load.answers
    server.ask()
    # What ends in order has counted to the end.
    server.signal(signal.SIGHUP)
    server.until("the old ones finish")
    server.ask()
    tools.eventually(lambda: server.metric(name) == load.answers + 2)


def test_a_worker_that_hangs_is_replaced(serving: Any, tools: Any) -> None:
    server = serving("pid", worker_timeout="1s")
    hung = server.pids[1]
    os.kill(hung, signal.SIGSTOP)
    server.until("has not answered")
    tools.eventually(lambda: server.workers[1]["pid"] not in (None, hung))
    tools.eventually(lambda: server.workers[1]["state"] == "ready")
    assert server.metric('anywasm_worker_restarts_total{reason="hang",worker="2"}') == 1


def test_a_worker_that_is_told_to_end_finishes_and_is_replaced(serving: Any, tools: Any) -> None:
    server = serving("pid")
    with tools.load(server) as load:
        os.kill(server.pids[0], signal.SIGTERM)
        server.until("has ended: exit code 0")
        load.wait()
    assert (load.refused, load.bad) == (0, [])


def test_a_stop_finishes_what_runs(serving: Any, tools: Any) -> None:
    server = serving("pid", "slow")
    connection = server.connect()
    connection.request("GET", "/", headers={"id": "slow"})
    tools.eventually((tools.folder / "entered").exists)
    server.signal(signal.SIGTERM)
    server.until("stopping")
    (tools.folder / "opened").touch()
    assert connection.getresponse().status == 200
    assert server.process.wait(30) == 0
    connection.close()


def test_a_second_signal_ends_it_at_once(serving: Any, tools: Any) -> None:
    server = serving("slow", drain_timeout="1h")
    pids = server.pids
    connection = server.connect()
    # A request that holds up the loop of its worker, too.
    connection.request("GET", "/", headers={"id": "slow"})
    tools.eventually((tools.folder / "entered").exists)
    server.signal(signal.SIGINT)
    server.until("stopping")
    server.signal(signal.SIGTERM)
    assert server.process.wait(30) == -signal.SIGTERM
    tools.eventually(lambda: all(map(tools.gone, pids)))
    connection.close()


def test_workers_end_when_their_supervisor_dies(serving: Any, tools: Any) -> None:
    server = serving("pid")
    pids = server.pids
    server.signal(signal.SIGKILL)
    server.until("the supervisor has gone", 2)
    tools.eventually(lambda: all(map(tools.gone, pids)))


def test_a_unix_socket_goes_with_the_supervisor_only(serving: Any, tools: Any) -> None:
    path = tools.folder / "s"
    server = serving("pid", listeners=[{"name": "main", "address": f"unix:{path}"}])
    os.kill(server.pids[0], signal.SIGTERM)
    server.until("exit code 0")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nid: pid\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    server.stop()
    assert not path.exists()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"plugins": [{"name": "f", "vm_config": {"path": "no.wasm"}}]}, 1, "plugin 'f': cannot"),
        ({"state_stores": {"s": {"type": "etcd"}}}, 2, 'unknown type "etcd"'),
        ({"workers": 0}, 2, "workers"),
    ],
)
def test_what_cannot_be_started_is_told_as_by_one_process(
    tools: Any, changes: dict[str, Any], code: int, words: str
) -> None:
    tools.config(**changes)
    result = subprocess.run(
        tools.command(), cwd=tools.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == code
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_systemd_is_told(
    serving: Any, tools: Any, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tools.folder / "n"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tools.folder / "n"))
        server = serving(workers=workers)
        assert manager.recv(100) == b"READY=1"
        server.signal(signal.SIGHUP)
        assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(100) == b"READY=1"
        server.stop()
        assert manager.recv(100) == b"STOPPING=1"
