from __future__ import annotations

import contextlib
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anywasm.core.artifact import Artifact, read_artifact, write_artifact
from anywasm.core.errors import CompileError

CONTENT = Artifact(b"interface", b"machine code")
PACKED = write_artifact("engine", "1.0, opt=2", CONTENT)


@given(st.binary(max_size=300), st.binary(max_size=300), st.text(max_size=20))
def test_what_was_written_is_read(interface: bytes, code: bytes, version: str) -> None:
    content = Artifact(interface, code)
    assert read_artifact("e", version, write_artifact("e", version, content)) == content


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_changed_byte_is_refused(position: int, mask: int) -> None:
    damaged = bytearray(PACKED)
    damaged[position] ^= mask
    with pytest.raises(CompileError):
        read_artifact("engine", "1.0, opt=2", bytes(damaged))


@given(st.integers(0, len(PACKED) - 1))
def test_truncated_artifact_is_refused(end: int) -> None:
    with pytest.raises(CompileError):
        read_artifact("engine", "1.0, opt=2", PACKED[:end])


@given(st.binary(min_size=1, max_size=50))
def test_longer_artifact_is_refused(tail: bytes) -> None:
    with pytest.raises(CompileError, match="checksum"):
        read_artifact("engine", "1.0, opt=2", PACKED + tail)


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    for start in (b"", PACKED[:9], PACKED[:13]):
        with pytest.raises(CompileError):
            read_artifact("engine", "1.0, opt=2", start + data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=5,
    )
)
def test_any_header_ends_in_an_error_of_ours(head: object) -> None:
    encoded = json.dumps(head).encode()
    data = PACKED[:9] + len(encoded).to_bytes(4, "little") + encoded + b"rest"
    with pytest.raises(CompileError):
        read_artifact("engine", "1.0, opt=2", data)


def test_foreign_artifact_says_what_differs() -> None:
    with pytest.raises(CompileError, match="foreign artifact: made for engine 'engine', not 'a'"):
        read_artifact("a", "1.0, opt=2", PACKED)
    with pytest.raises(CompileError, match=r"version '1\.0, opt=2', not '1\.1'"):
        read_artifact("engine", "1.1", PACKED)


def test_foreign_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(CompileError, match=r"machine .* not 'pdp11'"):
        read_artifact("engine", "1.0, opt=2", PACKED)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=40))
def test_lengths_that_do_not_fit_end_in_an_error_of_ours(
    first: int, second: int, rest: bytes
) -> None:
    """A checksum can be right over lengths that are wrong: no signature guards an artifact."""
    body = first.to_bytes(8, "little") + second.to_bytes(8, "little") + rest
    start = 13 + int.from_bytes(PACKED[9:13], "little")
    head = json.loads(PACKED[13:start]) | {"sha256": hashlib.sha256(body).hexdigest()}
    encoded = json.dumps(head).encode()
    data = PACKED[:9] + len(encoded).to_bytes(4, "little") + encoded + body
    with contextlib.suppress(CompileError):
        content = read_artifact("engine", "1.0, opt=2", data)
        assert len(content.interface) + len(content.code) == len(rest)
