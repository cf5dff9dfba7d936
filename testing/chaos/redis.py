"""A Redis server that comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from pathlib import Path


def find_redis() -> str | None:
    """The program, or None where there is none."""
    return shutil.which("valkey-server") or shutil.which("redis-server")


class Redis:
    """A server on a port of this machine, with one key in it.

    Args:
        program: The server's program.
        folder: Where it runs; it writes nothing.
        port: Its port.
    """

    def __init__(self, program: str, folder: Path, port: int) -> None:
        self._command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        self._folder = folder
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and set the key.

        Raises:
            ConnectionError: When it does not come up.
        """
        self._process = subprocess.Popen(  # noqa: ASYNC220 (as quick as it gets)
            self._command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        answer = b""
        for _ in range(200):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            with contextlib.suppress(OSError):
                writer.write(b"SET key value\r\n")
                answer = await reader.readline()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            if answer == b"+OK\r\n":
                return
        raise ConnectionError(f"{self._command[0]} does not answer on port {self._port}")

    def stop(self) -> None:
        """Kill it, without a word to its clients."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
