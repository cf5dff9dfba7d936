from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from anywasm.cli.serving import set_up
from anywasm.core.errors import ConfigError
from anywasm.sdk import guest_path

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Serving = Callable[..., AbstractContextManager[Any]]
Config = Callable[..., Path]

ID = {"id": "id_1"}
ANSWER = b"There are 100 inventories for book1."

PLUGIN = """
from anywasm.testing.quickstart import register_quickstart

def setup():
    register_quickstart()
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Writes a configuration that serves the quickstart from a store in memory."""

    def write(**changes: Any) -> Path:
        data: dict[str, Any] = {
            "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
            "plugins": [
                {
                    "name": name,
                    "vm_config": {"engine": "wasmtime", "path": str(guest_path(name))},
                }
                for name in ("function_1", "function_2")
            ],
            "state_stores": {"state_demo": {"type": "memory", "data": {"book1": "100"}}},
        }
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**data, **changes}))
        return path

    return write


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(serving: Serving, config: Config, number: int) -> None:
    with serving("start", "-c", str(config())) as server:
        port = server.port()
        assert server.ask(port, "/?name=book1", ID)[:2] == (200, ANSWER)
        os.kill(server.process.pid, number)
        assert server.process.wait(30) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""


def test_a_hang_up_takes_up_the_plugins(serving: Serving, config: Config) -> None:
    path = config()
    with serving("start", "-c", str(path)) as server:
        port = server.port()
        data = json.loads(path.read_text())
        changed = [data["plugins"][1], {**data["plugins"][0], "name": "other"}]
        path.write_text(json.dumps({**data, "plugins": changed, "log_level": "debug"}))
        os.kill(server.process.pid, signal.SIGHUP)
        server.until("changes of log_level take effect after a restart")
        server.until('"reloaded"')
        text = "".join(server.lines)
        assert "plugin other: added" in text
        assert "plugin function_1: uninstalled" in text
        assert server.ask(port, "/?name=book1", ID)[:2] == (200, ANSWER)
        path.write_text("{")
        os.kill(server.process.pid, signal.SIGHUP)
        server.until("the reload has failed")
        assert server.ask(port, "/?name=book1", ID)[0] == 200
        server.process.terminate()
        assert server.process.wait(30) == 0


def test_json_log_is_an_object_per_line_and_names_the_plugin(
    serving: Serving, config: Config
) -> None:
    path = config(state_stores={})
    with serving("start", "-c", str(path)) as server:
        port = server.port()
        assert server.ask(port, "/?name=book1", ID)[0] == 502
        server.until("reading the state store")
        events = [json.loads(line) for line in server.lines]
        assert all({"timestamp", "level", "logger", "event"} <= set(event) for event in events)
        last = events[-1]
        assert last["logger"] == "anywasm.guest"
        assert last["plugin"] == "function_2"
        assert last["level"] == "error"


def test_text_log_is_plain_in_a_pipe(serving: Serving, config: Config) -> None:
    with serving("start", "-c", str(config()), text_log=True) as server:
        server.until("] ready ")
        text = "".join(server.lines)
        assert "anywasm.server" in text
        assert "\x1b" not in text


def test_log_level_of_the_configuration_counts(serving: Serving, config: Config) -> None:
    path = config(log_level="error", state_stores={})
    with serving("start", "-c", str(path)) as server:
        server.process.terminate()
        server.process.wait(30)
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def test_setup_registers_guests_of_the_null_engine(
    serving: Serving, config: Config, tmp_path: Path
) -> None:
    (tmp_path / "my_guests.py").write_text(PLUGIN)
    plugins = []
    for name in ("function_1", "function_2"):
        (tmp_path / name).write_text(name)
        plugins.append({"name": name, "vm_config": {"engine": "null", "path": name}})
    path = config(plugins=plugins)
    args = ("start", "-c", str(path), "--setup", "my_guests:setup")
    with serving(*args, cwd=tmp_path) as server:
        port = server.port()
        assert server.ask(port, "/?name=book1", ID)[:2] == (200, ANSWER)


@pytest.mark.parametrize(
    "name", ["no_such_module:setup", "json:no_such", "json", "json:__name__", ":x", ""]
)
def test_a_setup_that_cannot_be_called(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        set_up([name])
    assert str(raised.value).startswith(f"--setup {name}: ")


def test_a_setup_that_cannot_be_called_is_told_in_a_line(run: Run) -> None:
    result = run("start", "-c", "x.yaml", "--setup", "json:no_such")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("--setup json:no_such: ")
    assert result.stderr.count("\n") == 1


LAYOTTO = {
    "servers": [
        {
            "default_log_level": "INFO",
            "listeners": [
                {
                    "name": "main",
                    "address": "127.0.0.1:0",
                    "stream_filters": [
                        {
                            "type": "Layotto",
                            "config": {
                                "function1": {
                                    "name": "function1",
                                    "instance_num": 1,
                                    "vm_config": {
                                        "engine": "wasmtime",
                                        "path": str(guest_path("function_1")),
                                        "cpu": 1,
                                    },
                                }
                            },
                        }
                    ],
                }
            ],
        }
    ],
    "tracing": {"enable": True},
}


def test_a_layotto_configuration_is_served_and_its_notices_are_told_once(
    serving: Serving, tmp_path: Path
) -> None:
    path = tmp_path / "layotto.json"
    path.write_text(json.dumps(LAYOTTO, indent=1))
    with serving("start", "-c", str(path)) as server:
        port = server.port()
        assert server.ask(port, "/")[0] == 400
        warnings = [
            event["event"] for event in map(json.loads, server.lines) if event["level"] == "warning"
        ]
        assert len([line for line in warnings if "tracing" in line]) == 1
        assert len([line for line in warnings if "cpu and mem have no effect" in line]) == 1


def test_every_mistake_has_its_line(run: Run, config: Config) -> None:
    path = config(listenrs=[], drain_timeout="soon", log_level="loud")
    result = run("start", "-c", str(path), columns=40)
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{path}:1: ") for line in lines)


@pytest.mark.parametrize(
    ("changes", "words", "code"),
    [
        (
            {"plugins": [{"name": "f", "vm_config": {"path": "no.wasm"}}]},
            "plugin 'f': cannot read the module",
            1,
        ),
        ({"plugins": [{"name": "f", "vm_config": {"path": "config.json"}}]}, "byte 0x0", 1),
        ({"state_stores": {"s": {"type": "etcd"}}}, 'unknown type "etcd"', 2),
    ],
)
def test_what_cannot_be_started_is_told_in_a_line(
    run: Run, config: Config, changes: dict[str, Any], words: str, code: int
) -> None:
    result = run("start", "-c", str(config(**changes)))
    assert result.returncode == code
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_port_that_is_taken(run: Run, config: Config) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        path = config(listeners=[{"name": "main", "address": address}])
        result = run("start", "-c", str(path), "--log-format", "json")
    assert result.returncode == 2
    assert f"cannot listen on {address}" in result.stderr.splitlines()[-1]
