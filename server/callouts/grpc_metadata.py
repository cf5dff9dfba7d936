"""Metadata between guests and grpcio.

Guests see it as it goes over the wire, as in Envoy, where it is HTTP headers: the values of names
that end in `-bin` are base64 text. grpcio has them as bytes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from anywasm.abi.pairs import Pair
from anywasm.core.errors import AnyWasmError

_is_name = re.compile(rb"[0-9a-z_.-]+").fullmatch
_is_value = re.compile(rb"[ -~]*").fullmatch
_BINARY = "-bin"


class MetadataError(AnyWasmError):
    """Metadata of a guest that gRPC cannot carry."""


def to_grpc(pairs: Iterable[Pair]) -> tuple[tuple[str, str | bytes], ...]:
    """What a guest gave, for grpcio.

    Raises:
        MetadataError: A name or value is none (gRPC over HTTP/2, "Custom-Metadata").
    """
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in pairs:
        if not _is_name(name) or not _is_value(value):
            raise MetadataError(f"{name!r} is no metadata that gRPC can carry")
        key = name.decode()
        metadata.append((key, _decode(key, value) if key.endswith(_BINARY) else value.decode()))
    return tuple(metadata)


def _decode(key: str, value: bytes) -> bytes:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        raise MetadataError(f"the value of {key!r} must be base64") from None


def from_grpc(metadata: Iterable[tuple[str, str | bytes]] | None) -> tuple[Pair, ...]:
    """What grpcio received, for a guest; base64 is unpadded, as gRPC sends it."""
    return tuple(
        (
            name.encode(),
            base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode(),
        )
        for name, value in metadata or ()
    )
