from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anywasm.core.artifact import Artifact, read_artifact, read_artifact_head, write_artifact
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
def test_longer_artifact_is_refused(more: bytes) -> None:
    for data in (more + PACKED, PACKED + more):
        with pytest.raises(CompileError):
            read_artifact("engine", "1.0, opt=2", data)


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    for end in (b"", PACKED[-9:], PACKED[-13:]):
        with pytest.raises(CompileError):
            read_artifact("engine", "1.0, opt=2", data + end)


def with_head(head: object) -> bytes:
    """The artifact with another head."""
    encoded = json.dumps(head).encode()
    return PACKED[: len(CONTENT.code + CONTENT.interface)] + encoded + _end(encoded)


def _end(encoded: bytes) -> bytes:
    return len(encoded).to_bytes(4, "little") + PACKED[-9:]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=5,
    )
)
def test_any_head_ends_in_an_error_of_ours(head: object) -> None:
    with pytest.raises(CompileError):
        read_artifact("engine", "1.0, opt=2", with_head(head))


@given(
    st.sampled_from(sorted(read_artifact_head(PACKED)[0])),
    st.none() | st.integers() | st.lists(st.integers(), max_size=2) | st.just({"code": -1}),
)
def test_any_value_in_the_head_ends_in_an_error_of_ours(key: str, value: object) -> None:
    with pytest.raises(CompileError):
        read_artifact(
            "engine", "1.0, opt=2", with_head({**read_artifact_head(PACKED)[0], key: value})
        )


def test_foreign_artifact_says_what_differs() -> None:
    with pytest.raises(CompileError, match="foreign artifact: made for engine 'engine', not 'a'"):
        read_artifact("a", "1.0, opt=2", PACKED)
    with pytest.raises(CompileError, match=r"version '1\.0, opt=2', not '1\.1'"):
        read_artifact("engine", "1.1", PACKED)


def test_foreign_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "pdp11")
    with pytest.raises(CompileError, match=r"machine .* not 'pdp11'"):
        read_artifact("engine", "1.0, opt=2", PACKED)


def test_foreign_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anywasm.core.artifact._processor", lambda: "with other instructions")
    with pytest.raises(CompileError, match=r"processor .* not 'with other instructions'"):
        read_artifact("engine", "1.0, opt=2", PACKED)


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_sizes_that_do_not_fit_are_refused(code: int, interface: int) -> None:
    """A checksum can be right over sizes that are wrong: no signature guards an artifact."""
    sizes = {"code": code, "interface": interface}
    data = with_head({**read_artifact_head(PACKED)[0], "sizes": sizes})
    if code + interface == len(CONTENT.code + CONTENT.interface):
        content = read_artifact("engine", "1.0, opt=2", data)
        assert content.code + content.interface == CONTENT.code + CONTENT.interface
    else:
        with pytest.raises(CompileError, match="longer or shorter"):
            read_artifact("engine", "1.0, opt=2", data)
