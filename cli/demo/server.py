"""A real server in a process of its own, for as long as the demo asks it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from anywasm.core.errors import PluginError

_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 10.0


class ServerProcess:
    """`anywasm start` as a child process. A context manager; leaving it ends the process.

    Attributes:
        port: The TCP port of its only listener, on 127.0.0.1.

    Args:
        config: Configuration file.
        setup: What `--setup` names, or None.
    """

    port = 0

    def __init__(self, config: Path, setup: str | None = None) -> None:
        command = [sys.executable, "-m", "anywasm", "start", "-c", str(config)]
        command += ["--log-format", "json"]
        if setup is not None:
            command += ["--setup", setup]
        self._ready = threading.Event()
        self._said: deque[str] = deque(maxlen=20)
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._note(line.decode(errors="replace").rstrip())
        self._ready.set()  # it has ended, and will never be more ready than this

    def _note(self, line: str) -> None:
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            self._said.append(line)
            return
        if event.get("event") == "ready":
            (addresses,) = event["addresses"].values()
            self.port = int(addresses[0].rpartition(":")[2])
            self._ready.set()
        elif event.get("level") in ("warning", "error", "critical"):
            self._said.append(str(event["event"]))

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def complaint(self) -> str:
        """The last that it logged as a warning or worse; empty where there was none."""
        return self._said[-1] if self._said else ""

    def wait(self) -> None:
        """Wait until everything serves.

        Raises:
            PluginError: When that does not come to be; says what the server said.
        """
        if not self._ready.wait(_START_TIMEOUT):
            raise PluginError(f"the server did not start within {_START_TIMEOUT:.0f} s")
        if not self.port:
            code = self._process.wait()
            raise PluginError(self.complaint or f"the server ended with exit code {code}")

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT)
        finally:  # also when Ctrl-C ends the waiting
            self._process.kill()
            self._process.wait()
            self._reader.join()
