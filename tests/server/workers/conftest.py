"""Servers of several processes, as their users start them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 30.0

#: Guests that tell which process they run in, refuse to start in one of two, or hold it up.
GUESTS = '''
import os
import time
from anywasm.abi.enums import Action, BufferType
from anywasm.engines.null.library import export, register_guest
from anywasm.testing.null_filter import HostCallError, NullFilter

class Pid(NullFilter):
    host_functions = ("proxy_send_local_response", "proxy_set_buffer_bytes")

    @export("->")
    def proxy_get_id(self):
        self.replace_buffer(BufferType.FOREIGN_FUNCTION_ARGUMENTS, b"pid")

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_headers(self, context, count, end):
        return self.respond(200, (), b"%d" % os.getpid())

class Slow(Pid):
    @export("->")
    def proxy_get_id(self):
        self.replace_buffer(BufferType.FOREIGN_FUNCTION_ARGUMENTS, b"slow")

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_headers(self, context, count, end):
        open("entered", "w").close()
        while not os.path.exists("opened"):
            time.sleep(0.005)
        return self.respond(200, (), b"%d" % os.getpid())

class Picky(Pid):
    """Starts in all processes but one."""
    @export("->")
    def proxy_get_id(self):
        self.replace_buffer(BufferType.FOREIGN_FUNCTION_ARGUMENTS, b"picky")

    @export("i32 i32 -> i32")
    def proxy_on_configure(self, context, size):
        try:
            os.close(os.open("taken", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return 1
        return 0

class Crashing(Pid):
    @export("i32 i32 i32 -> i32")
    def proxy_on_request_headers(self, context, count, end):
        os.kill(os.getpid(), 11)
        time.sleep(10)
        return 0

class Counting(Pid):
    """Counts its requests in shared data, and tells who has how many."""
    host_functions = (*Pid.host_functions, "proxy_get_shared_data", "proxy_set_shared_data")

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_headers(self, context, count, end):
        while True:
            try:
                value, number = self.call("proxy_get_shared_data", b"n")
            except HostCallError:
                value, number = b"0", 0
            try:
                total = int(value) + 1
                self.call("proxy_set_shared_data", b"n", b"%d" % total, number)
            except HostCallError:
                continue
            return self.respond(200, (), b"%d %d" % (os.getpid(), total))

class Queueing(Pid):
    """Puts what it is asked for into a queue, and writes down which process took it out."""
    host_functions = (
        *Pid.host_functions,
        "proxy_register_shared_queue",
        "proxy_enqueue_shared_queue",
        "proxy_dequeue_shared_queue",
    )

    @export("->")
    def proxy_get_id(self):
        self.replace_buffer(BufferType.FOREIGN_FUNCTION_ARGUMENTS, b"queueing")

    @export("i32 i32 -> i32")
    def proxy_on_configure(self, context, size):
        self.queue = self.call("proxy_register_shared_queue", b"jobs")
        return 1

    @export("i32 i32 i32 -> i32")
    def proxy_on_request_headers(self, context, count, end):
        self.call("proxy_enqueue_shared_queue", self.queue, b"%d" % os.getpid())
        return self.respond(200, (), b"%d" % os.getpid())

    @export("i32 i32 ->")
    def proxy_on_queue_ready(self, context, token):
        item = self.call("proxy_dequeue_shared_queue", token)
        with open("taken out", "a") as file:
            file.write("%s %d %d\\n" % (item.decode(), os.getpid(), token == self.queue))

def setup():
    for guest in (Pid, Slow, Picky, Crashing, Counting, Queueing):
        register_guest(guest.__name__.lower(), guest)
'''


class Server:
    """A supervisor and its workers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        ready = self.until("ready", key="addresses")
        (address,) = ready["addresses"]["main"]
        self.address: str = address
        (managed,) = (e["event"] for e in self.events if e["event"].startswith("management API on"))
        self._admin = int(managed.rpartition(":")[2])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.events.append({"event": line, "level": "unknown"})
                self._changed.notify_all()
        with self._changed:
            self.events.append({"event": "", "level": "end"})
            self._changed.notify_all()

    def until(self, words: str, count: int = 1, key: str = "event") -> dict[str, Any]:
        """Wait for so many events with these words, and that key; the last of them."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if words in event["event"] and key in event]

        def over() -> bool:
            return len(found()) >= count or bool(self.events and self.events[-1]["level"] == "end")

        with self._changed:
            self._changed.wait_for(over, PATIENCE)
            assert len(found()) >= count, self.events
            return found()[count - 1]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, function: str = "pid") -> tuple[int, bytes]:
        with contextlib.closing(self.connect()) as connection:
            connection.request("GET", "/", headers={"id": function})
            response = connection.getresponse()
            return response.status, response.read()

    def manage(self, path: str, body: object = None) -> tuple[int, Any]:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self._admin, timeout=PATIENCE)
        ) as connection:
            data = None if body is None else json.dumps(body)
            connection.request("GET" if data is None else "POST", path, data)
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, text if path == "/metrics" else json.loads(text)

    @property
    def workers(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.manage("/healthz")[1]["workers"]
        return listed

    @property
    def pids(self) -> list[int]:
        return [worker["pid"] for worker in self.workers]

    def metric(self, name: str) -> float:
        lines = self.manage("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)  # until the workers have gone, too
        assert not self._reader.is_alive()
        assert self.process.stderr is not None
        self.process.stderr.close()


class Load:
    """Clients that ask all the time on kept connections, and note what went wrong."""

    def __init__(self, server: Server, clients: int = 8) -> None:
        self._server = server
        self._stop = threading.Event()
        self.answers = 0
        self.bad: list[tuple[int, bytes]] = []
        self.broken: list[int] = []
        self.refused = 0
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(clients)]

    def _run(self, number: int) -> None:
        with contextlib.closing(self._server.connect()) as connection:
            self._ask(number, connection)

    def _ask(self, number: int, connection: http.client.HTTPConnection) -> None:
        while not self._stop.is_set():
            try:
                if connection.sock is None:
                    connection.connect()
            except OSError:
                self.refused += 1
                continue
            try:
                connection.request("GET", "/", headers={"id": "pid"})
                response = connection.getresponse()
                answer = response.status, response.read()
            except (OSError, http.client.HTTPException):
                # A connection that was closed as it was asked for is tried again by any client,
                # but here nobody is forgiven.
                self.broken.append(number)
                connection.close()
                continue
            self.answers += 1
            if answer[0] != 200:
                self.bad.append(answer)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.wait()
        return self

    def wait(self, answers: int = 200) -> None:
        """Until so many more answers are there."""
        eventually(lambda at=self.answers: self.answers >= at + answers)  # type: ignore[misc]

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def eventually(condition: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class Tools:
    load = Load
    eventually = staticmethod(eventually)
    gone = staticmethod(gone)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "worker_guests.py").write_text(GUESTS)

    def plugin(self, guest: str, name: str | None = None) -> dict[str, Any]:
        """A plugin whose module is the Python class of that name."""
        path = self.folder / f"{guest}.null"
        if not path.exists():
            path.write_text(guest)
        return {"name": name or guest, "vm_config": {"engine": "null", "path": str(path)}}

    def config(self, *plugins: str, **changes: Any) -> Path:
        data = {
            "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
            "plugins": [self.plugin(name) for name in plugins],
            "management": {"address": "127.0.0.1:0"},
            "workers": 2,
        }
        path = self.folder / "config.json"
        path.write_text(json.dumps({**data, **changes}))
        return path

    def command(self) -> list[str]:
        arguments = ["start", "-c", "config.json", "--log-format", "json"]
        return [sys.executable, "-m", "anywasm", *arguments, "--setup", "worker_guests:setup"]


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """What the tests of this folder share."""
    return Tools(tmp_path)


@pytest.fixture
def serving(tools: Tools) -> Iterator[Callable[..., Server]]:
    """Starts a server of two workers with these guests; waits until it serves."""
    servers: list[Server] = []

    def start(*plugins: str, **changes: Any) -> Server:
        tools.config(*plugins, **changes)
        process = subprocess.Popen(
            tools.command(), cwd=tools.folder, stderr=subprocess.PIPE, text=True
        )
        servers.append(Server(process))
        return servers[-1]

    yield start
    (tools.folder / "opened").touch()
    for server in servers:
        server.close()
