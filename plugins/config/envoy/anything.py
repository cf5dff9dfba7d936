"""`google.protobuf.Any`: a value that names its own type."""

from __future__ import annotations

import base64
import binascii

from anywasm.plugins.config.block import Block

_TYPE = "@type"


def type_of(block: Block) -> str:
    """The last part of the type's name, such as `Wasm`; empty where there is none."""
    return block.text(_TYPE).rpartition("/")[2].rpartition(".")[2]


def typed(block: Block, name: str) -> tuple[str, Block]:
    """The type and the content of the message under a key; a `TypedStruct` is unwrapped."""
    inner = block.block(name)
    kind = type_of(inner)
    if kind != "TypedStruct":
        return kind, inner
    kind = inner.text("type_url").rpartition("/")[2].rpartition(".")[2]
    content = inner.block("value")
    inner.close()
    content.skip(_TYPE)
    return kind, content


def guest_configuration(block: Block, name: str) -> object:
    """What Envoy hands to a guest for an `Any`: bytes, or a value to be sent as JSON.

    As in Envoy's `anyToBytes`: a `StringValue` as text, `BytesValue` as bytes, a `Struct` as JSON.
    """
    if name not in block:
        block.skip(name)
        return None
    inner = block.block(name)
    kind = type_of(inner)
    value = inner.value("value")
    inner.close()
    if kind == "StringValue":
        return inner.text("value")
    if kind == "BytesValue":
        try:
            return base64.b64decode(inner.text("value"), validate=True)
        except (binascii.Error, ValueError):
            inner.problem("value", "must be base64")
            return None
    if kind == "Struct":
        if not isinstance(value, dict):
            inner.problem("value", "must be a mapping")
            return None
        return value
    message = (
        'must be {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": TEXT}, '
        "or Struct or BytesValue"
    )
    block.problem(name, message)
    return None
