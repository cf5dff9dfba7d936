from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from anywasm.sdk import guest_path

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Config = Callable[..., Path]

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


class Running:
    """A server process whose log is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, words: str) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"the server ended without {words!r}: {self.lines}")

    def ask(self, port: int, target: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", target, headers={"id": "id_1"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


@contextmanager
def serving(*args: str, cwd: Path | None = None) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-m", "anywasm", "start", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()


def _port(line: str) -> int:
    (address,) = json.loads(line)["addresses"]["main"]
    host, _, port = address.rpartition(":")
    assert host == "127.0.0.1"
    return int(port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(config: Config, number: int) -> None:
    with serving("-c", str(config()), "--log-format", "json") as server:
        port = _port(server.until('"ready"'))
        assert server.ask(port, "/?name=book1") == (200, b"There are 100 inventories for book1.")
        os.kill(server.process.pid, number)
        assert server.process.wait(30) == 0
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""


def test_json_log_is_an_object_per_line_and_names_the_plugin(config: Config) -> None:
    path = config(state_stores={})
    with serving("-c", str(path), "--log-format", "json") as server:
        port = _port(server.until('"ready"'))
        assert server.ask(port, "/?name=book1")[0] == 502
        server.until("reading the state store")
        events = [json.loads(line) for line in server.lines]
        assert all({"timestamp", "level", "logger", "event"} <= set(event) for event in events)
        last = events[-1]
        assert last["logger"] == "anywasm.guest"
        assert last["plugin"] == "function_2"
        assert last["level"] == "error"


def test_text_log_is_plain_in_a_pipe(config: Config) -> None:
    with serving("-c", str(config())) as server:
        server.until("ready")
        text = "".join(server.lines)
        assert "anywasm.server" in text
        assert "\x1b" not in text


def test_log_level_of_the_configuration_counts(config: Config) -> None:
    path = config(log_level="error", state_stores={})
    with serving("-c", str(path), "--log-format", "json") as server:
        server.process.terminate()
        server.process.wait(30)
        assert server.process.stderr is not None
        assert server.process.stderr.read() == ""


def test_setup_registers_guests_of_the_null_engine(config: Config, tmp_path: Path) -> None:
    (tmp_path / "my_guests.py").write_text(PLUGIN)
    plugins = []
    for name in ("function_1", "function_2"):
        (tmp_path / name).write_text(name)
        plugins.append({"name": name, "vm_config": {"engine": "null", "path": name}})
    path = config(plugins=plugins)
    args = ("-c", str(path), "--log-format", "json", "--setup", "my_guests:setup")
    with serving(*args, cwd=tmp_path) as server:
        port = _port(server.until('"ready"'))
        assert server.ask(port, "/?name=book1") == (200, b"There are 100 inventories for book1.")


@pytest.mark.parametrize(
    "name", ["no_such_module:setup", "json:no_such", "json", "json:__name__", ":x", ""]
)
def test_a_setup_that_cannot_be_called(run: Run, config: Config, name: str) -> None:
    result = run("start", "-c", str(config()), "--setup", name)
    assert result.returncode == 2
    assert result.stderr.startswith(f"--setup {name}: ")
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


def test_a_layotto_configuration_is_served_and_its_notices_are_told_once(tmp_path: Path) -> None:
    path = tmp_path / "layotto.json"
    path.write_text(json.dumps(LAYOTTO, indent=1))
    with serving("-c", str(path), "--log-format", "json") as server:
        port = _port(server.until('"ready"'))
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


@pytest.mark.parametrize("check", [(), ("--check-only",)])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plugins": [{"name": "f", "vm_config": {"path": "no.wasm"}}]}, "cannot read the module"),
        ({"plugins": [{"name": "f", "vm_config": {"path": "config.json"}}]}, "byte 0x0"),
        ({"state_stores": {"s": {"type": "etcd"}}}, 'unknown type "etcd"'),
    ],
)
def test_what_cannot_be_started_is_told_in_a_line(
    run: Run, config: Config, changes: dict[str, Any], words: str, check: tuple[str, ...]
) -> None:
    result = run("start", "-c", str(config(**changes)), *check)
    assert result.returncode == 2
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_check_only_starts_nothing(run: Run, config: Config) -> None:
    path = config()
    result = run("start", "-c", str(path), "--check-only")
    assert result.returncode == 0
    assert result.stdout == f"{path}: good; listeners: 1, plugins: 2, state stores: 1\n"
    assert result.stderr == ""


def test_check_only_sees_a_module_of_no_known_abi(run: Run, config: Config, tmp_path: Path) -> None:
    (tmp_path / "empty.wasm").write_bytes(b"\0asm\1\0\0\0")
    path = config(plugins=[{"name": "f", "vm_config": {"path": "empty.wasm"}}])
    result = run("start", "-c", str(path), "--check-only")
    assert result.returncode == 2
    assert "plugin 'f': missing or unknown proxy-wasm ABI" in result.stderr


def test_a_port_that_is_taken(run: Run, config: Config) -> None:
    with serving("-c", str(config()), "--log-format", "json") as server:
        port = _port(server.until('"ready"'))
        path = config(listeners=[{"name": "main", "address": f"127.0.0.1:{port}"}])
        result = run("start", "-c", str(path), "--log-format", "json")
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in result.stderr.splitlines()[-1]
