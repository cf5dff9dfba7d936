"""The server under test, in processes of its own, and what they hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anywasm.core.errors import AnyWasmError

_PROC = Path("/proc")


class ServerFailedError(AnyWasmError):
    """The server did not start, or ended before it was told to."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the processes hold together: bytes of memory, open files, threads."""

    memory: int
    files: int
    threads: int


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [item.getsockname()[1] for item in sockets]


class ServerProcess:
    """`anywasm start` with a configuration.

    Args:
        config: What to serve.
        folder: For the configuration's file and the log.
        management: The port of its management API.
    """

    def __init__(self, config: dict[str, Any], folder: Path, management: int) -> None:
        self._file = folder / "anywasm.json"
        self._file.write_text(json.dumps(config, indent=1))
        self.log = folder / "server.log"
        self._management = f"http://127.0.0.1:{management}"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self, patience: float = 120.0) -> None:
        """Start it, and wait until it serves.

        Raises:
            ServerFailedError: When it does not.
        """
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 (as quick as it gets)
                [sys.executable, "-m", "anywasm", "start", "-c", str(self._file)],
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + patience
        while True:
            try:
                await asyncio.to_thread(self.ask, "/healthz")
                return
            except OSError:
                self.check()
            if time.monotonic() > end:
                raise ServerFailedError(f"the server does not come up:\n{self._tail()}")
            await asyncio.sleep(0.05)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> str:
        """What the management API answers.

        Raises:
            OSError: When it cannot be reached, or refuses.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._management + path, data)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                text: str = response.read().decode()
        except urllib.error.HTTPError as error:
            error.close()
            raise
        return text

    def complete(self) -> bool:
        """Whether all workers serve; one process alone is all of them."""
        try:
            told = json.loads(self.ask("/readyz"))
        except OSError:
            return False
        return all(worker["state"] == "ready" for worker in told.get("workers", ()))

    def check(self) -> None:
        """Look whether it still runs.

        Raises:
            ServerFailedError: When it does not.
        """
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise ServerFailedError(f"the server ended with {code}:\n{self._tail()}")

    async def stop(self, patience: float = 30.0) -> int | None:
        """Have it stop, and its exit code; None where it had to be killed."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(process.wait, patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    @property
    def workers(self) -> list[int]:
        """The ids of its workers; what compiles for it comes and goes."""
        assert self._process is not None
        return [pid for pid in _children(self._process.pid) if _is_worker(pid)]

    def holdings(self) -> Holdings:
        """What it and its workers hold now."""
        assert self._process is not None
        memory = files = threads = 0
        for pid in (self._process.pid, *self.workers):
            with contextlib.suppress(OSError):
                memory += _memory(pid)
                files += len(list((_PROC / str(pid) / "fd").iterdir()))
                threads += len(list((_PROC / str(pid) / "task").iterdir()))
        return Holdings(memory, files, threads)

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"worker" in (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    return False


def _memory(pid: int) -> int:
    """Bytes that are its own; what workers share counts once, with none of them."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0
