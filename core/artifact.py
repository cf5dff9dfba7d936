"""The container for compiled code: `Module.serialize` writes it, `VM.load` reads it.

An artifact belongs to one engine, one version of it, one set of options and one kind of machine. It
carries the module's interface, so that a loaded module has the same imports, exports and custom
sections as a compiled one, and a checksum, so that a damaged file is refused before the engine sees
it. It is no signature: engines run artifacts as native code, so load only what you wrote yourself.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass

from anywasm.core.errors import CompileError

_MAGIC = b"\0anywasm\x01"
_LENGTHS = 16


@dataclass(frozen=True, slots=True)
class Artifact:
    """What an artifact holds: the module's interface sections, and the engine's own bytes."""

    interface: bytes
    code: bytes


def _identity(engine: str, version: str) -> dict[str, str]:
    return {
        "engine": engine,
        "version": version,
        "machine": platform.machine(),
        "system": platform.system(),
    }


def write_artifact(engine: str, version: str, artifact: Artifact) -> bytes:
    """Pack an artifact of `engine` in its `version` (which names its compile options too)."""
    body = (
        len(artifact.interface).to_bytes(8, "little")
        + len(artifact.code).to_bytes(8, "little")
        + artifact.interface
        + artifact.code
    )
    head = _identity(engine, version) | {"sha256": hashlib.sha256(body).hexdigest()}
    encoded = json.dumps(head, sort_keys=True).encode()
    return _MAGIC + len(encoded).to_bytes(4, "little") + encoded + body


def read_artifact(engine: str, version: str, data: bytes) -> Artifact:
    """Unpack an artifact made by this engine, in this version, on this kind of machine.

    Raises:
        CompileError: For anything else: no artifact, a damaged one, or a foreign one.
    """
    start = len(_MAGIC) + 4
    if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
        raise CompileError("not an artifact of anywasm: compile the module instead")
    end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    try:
        head = json.loads(data[start:end])
        found = {key: head[key] for key in ("engine", "version", "machine", "system")}
        checksum = head["sha256"]
    except (ValueError, KeyError, TypeError):
        raise CompileError("damaged artifact: its header cannot be read") from None
    wanted = _identity(engine, version)
    foreign = [
        f"{key} {found[key]!r}, not {wanted[key]!r}" for key in wanted if found[key] != wanted[key]
    ]
    if foreign:
        raise CompileError(f"foreign artifact: made for {'; '.join(foreign)}")
    body = memoryview(data)[end:]
    if hashlib.sha256(body).hexdigest() != checksum or len(body) < _LENGTHS:
        raise CompileError("damaged artifact: its checksum is wrong")
    middle = _LENGTHS + int.from_bytes(body[:8], "little")
    return Artifact(bytes(body[_LENGTHS:middle]), bytes(body[middle:]))
