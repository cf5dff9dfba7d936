"""A module that a compiler could work on for minutes holds nobody up, and is refused in time."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def hostile(tmp_path: Path, nested_loops: bytes) -> Path:
    path = tmp_path / "hostile.wasm"
    path.write_bytes(nested_loops)
    return path


@pytest.fixture
def slow(engine: str) -> str:
    if engine == "wasm3":
        pytest.skip("it refuses what is nested deep")
    return engine


def test_others_are_served_meanwhile(
    managing: Any, guest: Any, tools: Any, slow: str, hostile: Path
) -> None:
    running = managing([guest.plugin("hello", guest.answers("hello"), slow)])
    answers: list[Any] = []
    vm_config = {"engine": slow, "path": str(hostile), "compile_timeout": "2s"}

    def install() -> None:
        answers.append(running.manage("install", {"name": "bad", "vm_config": vm_config}))

    thread = threading.Thread(target=install)
    thread.start()
    tools.eventually(lambda: running.server._compilers.pids)
    served = 0
    while thread.is_alive():
        assert running.ask(id="hello").body == b"hello"
        served += 1
    thread.join()
    assert served > 1
    assert answers[0].status == 422
    error = answers[0].json["error"]
    assert error.startswith(f"the module {hostile}: compiling it for {slow} has taken 2 s")
    assert "vm_config.compile_timeout" in error
    assert running.ask(id="hello").body == b"hello"


def test_a_start_says_which_plugin_takes_too_much(serving: Any, tools: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.wasm"
    path.write_bytes(b"\0asm\1\0\0\0" + b"\0\x82\x87\xa7\x0e\1x" + bytes(30_000_000))
    vm_config = {"path": str(path), "compile_memory": "24MiB"}
    with pytest.raises(Exception, match=r"^plugin 'large': .*24 MiB.*vm_config\.compile_memory"):
        serving([{"name": "large", "vm_config": vm_config}])


def test_a_stop_waits_for_no_compiler(
    managing: Any, tools: Any, slow: str, hostile: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = managing()
    vm_config = {"engine": slow, "path": str(hostile), "compile_timeout": "24h"}

    def install() -> None:
        with contextlib.suppress(OSError):
            running.manage("install", {"name": "bad", "vm_config": vm_config})

    thread = threading.Thread(target=install)
    thread.start()
    tools.eventually(lambda: running.server._compilers.pids)
    running.stop()
    thread.join()
    assert not running.server._compilers.pids


def children(pid: int) -> set[int]:
    """The processes that a process has started, and those that they have."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found |= {child, *children(child)}
    return found


def catches(pid: int, number: signal.Signals) -> bool:
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("SigCgt:")
    )
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_start_can_be_given_up(
    tools: Any, tmp_path: Path, hostile: Path, workers: int, number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    config = {
        "listeners": [{"name": "main", "address": f"127.0.0.1:{port}"}],
        "plugins": [{"name": "a", "vm_config": {"path": str(hostile), "compile_timeout": "24h"}}],
        "workers": workers,
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    command = [sys.executable, "-m", "anywasm", "start", "-c", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        # Each worker, and what compiles for it; one compiles, or all do.
        wanted = 1 if workers == 1 else 2 * workers
        tools.eventually(lambda: len(children(process.pid)) >= wanted)
        tools.eventually(lambda: catches(process.pid, signal.SIGTERM))
        begun = children(process.pid)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert process.wait() == (0 if number == signal.SIGTERM else -number), said
    tools.eventually(lambda: all(map(gone, begun)))
