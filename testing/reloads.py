"""Reloads plugins under load, and tells whether a request was lost or anything was left behind.

`python -m anywasm.testing.reloads --reloads 1000` starts a server of its own on this machine, keeps
wrk asking a filter and a function, and meanwhile changes them in every way that there is: a new
file, a new configuration and a new module through the management API, a newer module at a URL, and
plugins that come and go. The exit status says whether all requests were answered 200, and guests
and memory are what they were.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from anywasm.core.artifact_cache import CACHE_DIR
from anywasm.core.errors import AnyWasmError
from anywasm.sdk import guest_path

#: Bytes that the server may have grown by between the first quarter and the end, whatever its size.
TOLERANCE = 12 << 20
#: Seconds that one change may take.
PATIENCE = 60.0


class ReloadError(AnyWasmError):
    """The experiment could not be made."""


@dataclass
class Outcome:
    """What was seen.

    Attributes:
        requests: Answered requests.
        failed: Those that were not answered 200, and connections that broke.
        complaints: What wrk said of them.
        reloads: How many changes were made, by kind.
        seconds: How long each took until it served.
        rss: Bytes in memory, after each twentieth of the changes.
        guests: Live guests before and after.
    """

    requests: int = 0
    failed: int = 0
    complaints: list[str] = field(default_factory=list)
    reloads: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    guests: tuple[int, int] = (0, 0)

    @property
    def growth(self) -> int:
        """Bytes from the end of the first quarter, when caches are warm, to the end."""
        return self.rss[-1] - self.rss[len(self.rss) // 4]

    @property
    def good(self) -> bool:
        """Whether nothing was lost and nothing was left."""
        return not self.failed and self.guests[0] == self.guests[1] and self.growth < TOLERANCE


class Modules:
    """A module in as many versions as are asked for, and a web server that has the newest."""

    def __init__(self, name: str) -> None:
        self._wasm = guest_path(name).read_bytes()
        self._count = 0
        self.newest = self.next()
        modules = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = modules.newest
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/filter.wasm"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self) -> bytes:
        """Another version: with a number in a custom section."""
        self._count += 1
        number = f"{self._count:08}".encode()
        self.newest = self._wasm + bytes([0, 2 + len(number), 1]) + b"v" + number
        return self.newest

    def write(self, path: Path) -> None:
        """Put another version in the place of a file, at once."""
        beside = path.with_suffix(".new")
        beside.write_bytes(self.next())
        beside.replace(path)


class Host:
    """A server in a process of its own."""

    def __init__(self, folder: Path, engine: str, filters: Modules, functions: Modules) -> None:
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

    def versions(self) -> dict[str, int]:
        """The version of each plugin that serves."""
        plugins = json.loads(self.ask("GET", "/wasm/list"))["plugins"]
        return {item["name"]: item["version"] for item in plugins}

    def guests(self) -> int:
        """Live guests, once those that drain are gone."""
        return _metric(self.ask("GET", "/metrics"), "anywasm_live_guests")

    def rss(self) -> int:
        """Bytes in memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
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


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise ReloadError(f"{what} did not happen in {PATIENCE:.0f} s")
        time.sleep(0.01)


@contextlib.contextmanager
def _load(port: int, connections: int, outcome: Outcome, *headers: str) -> Iterator[None]:
    """Keep wrk asking, and add up what it counted."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise ReloadError("wrk is missing: apt-get install wrk")
    given = [part for header in headers for part in ("-H", header)]
    process = subprocess.Popen(
        [wrk, "-t1", f"-c{connections}", "-d24h", *given, f"http://127.0.0.1:{port}/?name=book1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate()
    answered = re.search(r"(\d+) requests in", text)
    outcome.requests += int(answered[1]) if answered else 0
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    outcome.failed += int(bad[1]) if bad else 0
    outcome.failed += sum(map(int, errors.groups())) if errors else 0
    outcome.complaints += re.findall(r"^ *((?:Non-2xx|Socket errors).*)$", text, re.M)
    if answered is None or not int(answered[1]):
        raise ReloadError(f"wrk counted no request:\n{text}")


def run(reloads: int, engine: str, connections: int = 8) -> Outcome:
    """Make `reloads` changes under load.

    Raises:
        ReloadError: When the server or wrk does not run, or a change fails.
    """
    outcome = Outcome()
    filters, functions = Modules("add_header"), Modules("function_2")
    with (
        tempfile.TemporaryDirectory(prefix="anywasm-reloads-") as name,
        contextlib.ExitStack() as s,
    ):
        host = Host(Path(name), engine, filters, functions)
        s.callback(host.close)
        _until(lambda: _serves(host), "the start of the server")
        changes = _changes(host, engine, filters, functions)
        before = host.guests()
        with (
            _load(host.ports[0], connections, outcome),
            _load(host.ports[1], connections, outcome, "id: id_2"),
        ):
            for number in range(reloads):
                kind, change = changes[number % len(changes)]
                began = time.perf_counter()
                change(number)
                outcome.seconds.append(time.perf_counter() - began)
                outcome.reloads[kind] = outcome.reloads.get(kind, 0) + 1
                if number % max(1, reloads // 20) == 0:
                    outcome.rss.append(host.rss())
                    _progress(number, reloads, outcome)
        # What was replaced last still drains when the last change is done.
        with contextlib.suppress(ReloadError):
            _until(lambda: host.guests() == before, "the end of all drains")
        outcome.guests = before, host.guests()
        outcome.rss.append(host.rss())
    return outcome


def _serves(host: Host) -> bool:
    if host.process.poll() is not None:
        raise ReloadError(f"the server ended with {host.process.returncode}")
    with contextlib.suppress(OSError):
        return bool(host.versions())
    return False


def _changes(
    host: Host, engine: str, filters: Modules, functions: Modules
) -> list[tuple[str, Callable[[int], None]]]:
    def served(name: str, change: Callable[[], object]) -> None:
        before = host.versions()[name]
        change()
        _until(lambda: host.versions()[name] != before, f"a new version of {name}")

    def file(_: int) -> None:
        served("file", lambda: filters.write(host.files["file"]))

    def url(_: int) -> None:
        served("url", filters.next)

    def configured(number: int) -> None:
        body = host.plugin("file", engine, plugin_config=str(number))
        served("file", lambda: host.ask("POST", "/wasm/update", body))

    def module(_: int) -> None:
        # In a place of its own, so that the watcher has no part in it.
        path = host.files["function"].with_name(f"function-{time.monotonic_ns()}.wasm")
        functions.write(path)
        before, host.files["function"] = host.files["function"], path
        body = host.plugin("function", engine)
        served("function", lambda: host.ask("POST", "/wasm/update", body))
        before.unlink()

    def comes_and_goes(number: int) -> None:
        host.ask("POST", "/wasm/install", host.plugin("other", engine))
        host.ask("POST", "/wasm/uninstall", {"name": "other"})

    return [
        ("configuration", configured),
        ("module", module),
        ("install and uninstall", comes_and_goes),
        ("url", url),
        ("configuration", configured),
        ("module", module),
        ("install and uninstall", comes_and_goes),
        ("file", file),
    ]


def _progress(number: int, reloads: int, outcome: Outcome) -> None:
    sys.stderr.write(f"{number:6} of {reloads}, {outcome.rss[-1] / 2**20:.0f} MiB\n")


def report(outcome: Outcome) -> str:
    """The outcome as a few lines of Markdown."""
    hundredths = statistics.quantiles(outcome.seconds, n=100, method="inclusive")
    kinds = ", ".join(f"{count} by {kind}" for kind, count in sorted(outcome.reloads.items()))
    rows = [
        ("changes", f"{len(outcome.seconds)}: {kinds}"),
        (
            "until it serves",
            f"median {hundredths[49] * 1e3:.0f} ms, p99 {hundredths[98] * 1e3:.0f} ms",
        ),
        ("requests answered", f"{outcome.requests}"),
        ("requests lost", " ".join((str(outcome.failed), *outcome.complaints))),
        ("live guests before, after", f"{outcome.guests[0]}, {outcome.guests[1]}"),
        ("RSS in MiB", " ".join(f"{rss / 2**20:.0f}" for rss in outcome.rss)),
        ("growth after the first quarter", f"{outcome.growth / 2**20:+.1f} MiB"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m anywasm.testing.reloads",
        description="Reload plugins under load, and see whether a request or memory is lost.",
    )
    parser.add_argument("--reloads", type=int, default=1000, help="how many changes (1000)")
    parser.add_argument("--engine", default="wasmtime", help="the engine (wasmtime)")
    parser.add_argument("--connections", type=int, default=8, help="of each of two wrk (8)")
    options = parser.parse_args(arguments)
    try:
        outcome = run(options.reloads, options.engine, options.connections)
    except ReloadError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{report(outcome)}\n\n{'good' if outcome.good else 'NOT GOOD'}\n")
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
