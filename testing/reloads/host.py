"""The server whose plugins are reloaded."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from anywasm.core.artifact_cache import CACHE_DIR
from anywasm.testing.reloads.modules import Modules
from anywasm.testing.reloads.outcome import ReloadError

#: Seconds that one change may take.
PATIENCE = 60.0


class Host:
    """A server in processes of its own.

    Args:
        folder: For its files.
        engine: Its plugins' engine.
        workers: How many processes serve.
        filters: Modules of the filters.
        functions: Modules of the functions.
    """

    def __init__(
        self, folder: Path, engine: str, workers: int, filters: Modules, functions: Modules
    ) -> None:
        self._workers = workers
        self.ports = [_free_port() for _ in range(3)]
        self.files = {name: folder / f"{name}.wasm" for name in ("file", "function", "other")}
        for name, path in self.files.items():
            (filters if name == "file" else functions).write(path)
        fetch = {"interval": "50ms", "retries": 0}
        routes = [{"direct_response": {"body": "ok"}}]
        config = {
            "listeners": [
                {
                    "name": "filters",
                    "address": f"127.0.0.1:{self.ports[0]}",
                    "filters": ["file", "url"],
                    "routes": routes,
                },
                {"name": "functions", "address": f"127.0.0.1:{self.ports[1]}"},
            ],
            "plugins": [
                self.plugin("file", engine),
                {
                    "name": "url",
                    "vm_config": {"engine": engine, "url": filters.url, "fetch": fetch},
                },
                self.plugin("function", engine),
            ],
            "state_stores": {"state_demo": {"type": "memory", "data": {"book1": "100"}}},
            "management": {"address": f"127.0.0.1:{self.ports[2]}"},
            "log_level": "warning",
            "workers": workers,
        }
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "anywasm", "start", "-c", str(path)],
            # Every version is compiled, and nothing is left on the disk.
            env=os.environ | {CACHE_DIR: ""},
            stdout=subprocess.DEVNULL,
        )

    def plugin(self, name: str, engine: str, **more: Any) -> dict[str, Any]:
        """A plugin of one of the files."""
        vm = {"engine": engine, "path": str(self.files[name])}
        return {"name": name, "vm_config": vm, "instance_num": 1, **more}

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """Ask the management API."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[2], timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            text = response.read()
        if response.status != 200:
            raise ReloadError(f"{path}: {response.status} {text.decode(errors='replace')}")
        return text

    def versions(self) -> dict[str, tuple[int, ...]]:
        """The version of each plugin that serves, in each worker."""
        plugins = json.loads(self.ask("GET", "/wasm/list"))["plugins"]
        return {item["name"]: self._versions(item) for item in plugins}

    def _versions(self, plugin: dict[str, Any]) -> tuple[int, ...]:
        if "version" in plugin:  # all have the same
            return (plugin["version"],) * self._workers
        return tuple(worker["version"] for _, worker in sorted(plugin["workers"].items()))

    def guests(self) -> int:
        """Live guests, once those that drain are gone."""
        return _metric(self.ask("GET", "/metrics"), "anywasm_live_guests")

    def rss(self) -> int:
        """Bytes in memory, of all that serve and their supervisor; not of what compiles."""
        pids = [self.process.pid]
        if self._workers > 1:
            workers = json.loads(self.ask("GET", "/healthz"))["workers"]
            pids += [worker["pid"] for worker in workers]
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(PATIENCE)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _metric(text: bytes, name: str) -> int:
    found = re.search(rf"^{name} (\S+)$".encode(), text, re.M)
    if found is None:
        raise ReloadError(f"the server has no metric {name}")
    return int(float(found[1]))
