"""Runs the command as its users do: in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]

#: Runs the command where some packages are not installed.
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from anywasm.cli import main
main()
"""


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary folder with a short name, for the command's own temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="aw-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def command() -> Callable[..., list[str]]:
    """The command line of `anywasm`, also as if some packages were not installed."""

    def make(*args: str, without: tuple[str, ...] = ()) -> list[str]:
        if without:
            return [sys.executable, "-c", WITHOUT.format(missing=set(without)), *args]
        return [sys.executable, "-m", "anywasm", *args]

    return make


@pytest.fixture
def run(command: Callable[..., list[str]], scratch: Path) -> Run:
    """Runs `anywasm`, piped, with its temporary files in `scratch`."""

    def start(
        *args: str, without: tuple[str, ...] = (), columns: int | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "TMPDIR": str(scratch)}
        if columns is not None:
            env["COLUMNS"] = str(columns)
        return subprocess.run(
            command(*args, without=without),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=env,
            **options,
        )

    return start


class Running:
    """A server process whose log is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def until(self, words: str) -> str:
        """Read the log up to a line with these words."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"the server ended without {words!r}: {self.lines}")

    def port(self, listener: str = "main") -> int:
        """Wait until it serves; the listener's port. Needs the log in JSON."""
        (address,) = json.loads(self.until('"ready"'))["addresses"][listener]
        host, _, port = address.rpartition(":")
        assert host == "127.0.0.1"
        return int(port)

    def ask(
        self, port: int, target: str = "/", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", target, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        finally:
            connection.close()


@pytest.fixture
def serving(
    command: Callable[..., list[str]],
) -> Callable[..., AbstractContextManager[Running]]:
    """Runs a command that serves, until the end of a `with`, with its log in JSON."""

    @contextmanager
    def start(*args: str, text_log: bool = False, **options: Any) -> Iterator[Running]:
        process = subprocess.Popen(
            command(*args, *(() if text_log else ("--log-format", "json"))),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        try:
            yield Running(process)
        finally:
            process.kill()
            process.communicate()

    return start


@pytest.fixture
def in_terminal(command: Callable[..., list[str]]) -> Callable[..., str]:
    """Runs `anywasm` in a terminal; gives what that shows."""
    pty = pytest.importorskip("pty")

    def start(*args: str, columns: int) -> str:
        parent, child = pty.openpty()
        env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
        process = subprocess.Popen(command(*args), stdin=child, stdout=child, stderr=child, env=env)
        os.close(child)
        shown = b""
        try:
            while part := os.read(parent, 65536):
                shown += part
        except OSError:  # Linux says so at the end
            pass
        finally:
            os.close(parent)
            try:
                process.wait(60)
            finally:
                process.kill()
                process.wait()
        return shown.decode()

    return start


@pytest.fixture
def leftovers(scratch: Path) -> Callable[[], list[str]]:
    """Files and processes that the command left behind."""

    def find() -> list[str]:
        found = [str(path) for path in scratch.rglob("*")]
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(scratch) in line:
                found.append(f"{entry.name}: {line}")
        return found

    return find
