"""Just enough of the protobuf wire format to read small messages that guests build."""

from __future__ import annotations

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT = 1 << 64


def protobuf_fields(data: bytes) -> list[tuple[int, bytes | int]]:
    """The top-level fields of a protobuf message: number and value, in the order sent.

    A varint is an int; anything else is bytes, fixed-width numbers in little-endian order.

    Raises:
        ValueError: When it is malformed, or holds groups.
    """
    fields: list[tuple[int, bytes | int]] = []
    position = 0

    def varint() -> int:
        nonlocal position
        value = 0
        for shift in range(0, 70, 7):
            if position >= len(data):
                break
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if not byte & 0x80:
                if value >= _MAX_VARINT:
                    break
                return value
        raise ValueError("malformed varint")

    while position < len(data):
        tag = varint()
        number, wire = tag >> 3, tag & 7
        if not number:
            raise ValueError("malformed tag")
        if wire == _VARINT:
            fields.append((number, varint()))
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire) if wire != _BYTES else varint()
        if size is None or position + size > len(data):
            raise ValueError("malformed field")
        fields.append((number, data[position : position + size]))
        position += size
    return fields
