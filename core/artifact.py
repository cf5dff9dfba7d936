"""The container for compiled code: `Module.serialize` writes it, `VM.load` reads it.

An artifact belongs to one engine, one version of it, one set of options and one kind of machine. It
carries the module's interface, so that a loaded module has the same imports, exports and custom
sections as a compiled one, and a checksum, so that a damaged file is refused before the engine sees
it. It is no signature: engines run artifacts as native code, so load only what you wrote yourself.

The engine's own bytes come first and what describes them last, so that an engine which maps its
code into memory can be given the file as it is.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from anywasm.core.errors import CompileError

_MAGIC = b"\0anywasm\x02"
_LENGTH = 4
_TAIL = _LENGTH + len(_MAGIC)
_SIZES = ("code", "interface")


@dataclass(frozen=True, slots=True)
class Artifact:
    """What an artifact holds: the module's interface sections, and the engine's own bytes."""

    interface: bytes
    code: bytes


@cache
def _processor() -> str:
    """What tells processors apart: code compiled for one may use instructions another lacks."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(" ".join(sorted(flags.split())).encode()).hexdigest()[:16]


def artifact_identity(engine: str, version: str) -> dict[str, str]:
    """What must be equal for an artifact to be loaded: the engine, its version, the machine."""
    return {
        "engine": engine,
        "version": version,
        "machine": platform.machine(),
        "processor": _processor(),
        "system": platform.system(),
    }


def write_artifact(engine: str, version: str, artifact: Artifact) -> bytes:
    """Pack an artifact of `engine` in its `version` (which names its compile options too)."""
    content = artifact.code + artifact.interface
    head: dict[str, Any] = artifact_identity(engine, version)
    head["sizes"] = {"code": len(artifact.code), "interface": len(artifact.interface)}
    head["sha256"] = hashlib.sha256(content).hexdigest()
    # No space in it that could become another one unnoticed: the checksum is of the content.
    encoded = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    return content + encoded + len(encoded).to_bytes(_LENGTH, "little") + _MAGIC


def read_artifact_head(data: bytes | memoryview) -> tuple[dict[str, Any], int]:
    """What an artifact says of itself, unchecked but for its form, and where its content ends.

    Raises:
        CompileError: When it is no artifact, or its head is damaged.
    """
    end = len(data) - _TAIL
    if end < 0 or data[-len(_MAGIC) :] != _MAGIC:
        raise CompileError("not an artifact of anywasm: compile the module instead")
    start = end - int.from_bytes(data[end : end + _LENGTH], "little")
    try:
        if start < 0:
            raise ValueError
        head = json.loads(bytes(data[start:end]))
        sizes = [head["sizes"][size] for size in _SIZES]
        texts = [head["sha256"], *(head[key] for key in artifact_identity("", ""))]
        whole = all(isinstance(text, str) for text in texts)
        if not whole or not all(type(size) is int and size >= 0 for size in sizes):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CompileError("damaged artifact: its head cannot be read") from None
    if sum(sizes) != start:
        raise CompileError("damaged artifact: it is longer or shorter than its head says")
    return head, start


def read_artifact(engine: str, version: str, data: bytes | memoryview) -> Artifact:
    """Unpack an artifact made by this engine, in this version, on this kind of machine.

    Raises:
        CompileError: For anything else: no artifact, a damaged one, or a foreign one.
    """
    size, interface = check_artifact(engine, version, data)
    return Artifact(interface, bytes(data[:size]))


def check_artifact(engine: str, version: str, data: bytes | memoryview) -> tuple[int, bytes]:
    """Check an artifact as `read_artifact` does, without copying its code.

    Returns:
        How many of its first bytes are the engine's own, and the interface sections.

    Raises:
        CompileError: As `read_artifact`.
    """
    head, end = read_artifact_head(data)
    wanted = artifact_identity(engine, version)
    foreign = [
        f"{key} {head[key]!r}, not {wanted[key]!r}" for key in wanted if head[key] != wanted[key]
    ]
    if foreign:
        raise CompileError(f"foreign artifact: made for {'; '.join(foreign)}")
    # Released at once, also with an error on its way: what is mapped can then be closed.
    with memoryview(data) as whole, whole[:end] as content:
        if hashlib.sha256(content).hexdigest() != head["sha256"]:
            raise CompileError("damaged artifact: its checksum is wrong")
        size: int = head["sizes"]["code"]
        return size, bytes(content[size:])
