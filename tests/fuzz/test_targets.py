"""Replays every input that once broke a fuzz target, and a few random ones."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anywasm.testing.interpreter import run_python

FOLDER = Path(__file__).resolve().parent
CASES = FOLDER.parent / "fuzzcases"
TARGETS: dict[str, Callable[[bytes], None]] = runpy.run_path(str(FOLDER / "run.py"))["TARGETS"]


def cases() -> list[Any]:
    files = sorted(path for path in CASES.glob("*/*") if path.is_file())
    return [pytest.param(path, id=f"{path.parent.name}-{path.name}") for path in files]


@pytest.mark.parametrize("path", cases())
def test_what_was_found_once_is_found_no_more(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_cases_are_of_known_targets() -> None:
    assert {path.name for path in CASES.iterdir() if path.is_dir()} <= set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_random_bytes_break_no_target(name: str) -> None:
    @settings(max_examples=200)
    @given(data=st.binary(max_size=400))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    run()


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.binary(max_size=50)), max_size=5))
def test_protobuf_fields_are_read_as_they_were_written(fields: list[tuple[int, bytes]]) -> None:
    from anywasm.abi.protobuf import protobuf_fields

    def varint(number: int) -> bytes:
        parts = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
        return bytes([*(part | 0x80 for part in parts[:-1]), parts[-1]])

    wire = b"".join(varint(n << 3 | 2) + varint(len(v)) + v for n, v in fields)
    assert protobuf_fields(wire) == fields
    if wire:
        with pytest.raises(ValueError, match="malformed"):
            protobuf_fields(wire + b"\x80")


def test_the_command_says_what_it_needs() -> None:
    # As where atheris is not installed: an entry of None is a module that cannot be imported.
    code = (
        "import runpy, sys; sys.modules['atheris'] = None; "
        f"sys.argv = ['run.py']; runpy.run_path({str(FOLDER / 'run.py')!r}, run_name='__main__')"
    )
    done = run_python(code)
    assert (done.returncode, done.stderr) == (2, "fuzzing needs atheris: pip install atheris\n")
