"""A Redis or Valkey that comes and goes."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import redis

#: Seconds until it answers: far more than it ever takes.
_PATIENCE = 30.0


def find_redis() -> str | None:
    """The program, or None where there is none."""
    return shutil.which("valkey-server") or shutil.which("redis-server")


class RedisServer:
    """A server in a process of its own, on a port of this machine and on a Unix socket.

    It may be started again after it was stopped. Needs the extra `redis`. For one thread at a time.

    Args:
        program: The server's program.
        folder: Where it runs; it writes nothing there but its socket.
        port: Its port; by default one that is free now.
        password: What clients have to know; by default nothing.
    """

    def __init__(
        self, program: str, folder: Path, port: int | None = None, password: str = ""
    ) -> None:
        self._program = program
        self._folder = folder
        self._port = _free_port() if port is None else port
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return self._port

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self._folder / "redis.sock"

    @property
    def url(self) -> str:
        """Its first database, as a configuration names it."""
        login = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            ConnectionError: When it does not.
        """
        arguments = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            # Relative, because the path of a Unix socket may have about a hundred bytes only.
            "unixsocket": self.socket.name,
            "save": "",
            "requirepass": self._password,
        }
        options = [part for key, value in arguments.items() for part in (f"--{key}", value)]
        self._process = subprocess.Popen(
            [self._program, *options],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.02)
        self.kill()
        raise ConnectionError(f"{self._program} does not answer on port {self._port}")

    def _answers(self) -> bool:
        import redis

        with contextlib.suppress(redis.ConnectionError), self.client() as client:
            return bool(client.ping())
        return False

    def stop(self) -> None:
        """End it in good order, also while it is paused. Idempotent."""
        if self._process is not None:
            self.resume()
            self._process.terminate()
            self._process.wait(_PATIENCE)
            self._process = None

    def kill(self) -> None:
        """End it without a word to its clients. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Have it stand still, with its connections open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)

    def client(self, database: int = 0) -> redis.Redis:
        """A client of one of its databases, to be closed by who asked for it."""
        import redis

        return redis.Redis(
            port=self._port, db=database, password=self._password or None, protocol=2
        )

    def set(self, key: str | bytes, value: str | bytes) -> None:
        """Set a key of the first database."""
        with self.client() as client:
            client.set(key, value)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
