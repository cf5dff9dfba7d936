"""Arguments and expected results, as the JSON of a script has them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: A value in a script's JSON: its type, its bits as decimal text, lanes for a vector.
Json = Mapping[str, Any]

_WIDTHS = {"i8": 8, "i16": 16, "i32": 32, "i64": 64, "f32": 32, "f64": 64}
#: For each width: the bits of an infinite exponent, and the first bit of the fraction.
_NANS = {32: (0x7F80_0000, 0x0040_0000), 64: (0x7FF0_0000_0000_0000, 0x0008_0000_0000_0000)}
_FLOATS = {"f32": struct.Struct("<f"), "f64": struct.Struct("<d")}
#: How `ref.null` of each type is spelled among expected results.
_NULLS = {"refnull", "nullref", "nullexternref", "nullfuncref"}


@dataclass(frozen=True, slots=True)
class HostReference:
    """What `(ref.extern N)` stands for: any object, told from others by its number."""

    number: int


def is_reference(value: Json) -> bool:
    """Whether it is no number or vector."""
    return value["type"] not in _WIDTHS and value["type"] != "v128"


def bits_of(value: Json) -> int:
    """A number's or vector's bits."""
    if value["type"] != "v128":
        return _unsigned(value["value"], _WIDTHS[value["type"]])
    width = _WIDTHS[value["lane_type"]]
    return sum(_unsigned(lane, width) << width * i for i, lane in enumerate(value["value"]))


def _unsigned(text: str, width: int) -> int:
    # wast2json writes unsigned numbers, wasm-tools signed ones.
    return int(text) & (1 << width) - 1


def python_of(value: Json) -> Any:
    """A value as exports take it."""
    kind = value["type"]
    if is_reference(value):
        text = value.get("value", "null")
        return None if text == "null" else HostReference(int(text))
    bits = bits_of(value)
    if kind == "v128":
        return bits.to_bytes(16, "little")
    if kind in _FLOATS:
        return _FLOATS[kind].unpack(bits.to_bytes(_WIDTHS[kind] // 8, "little"))[0]
    return bits


def python_bits(kind: str, value: Any) -> int:
    """The bits of a number or vector that came as a Python object."""
    if kind == "v128":
        return int.from_bytes(value, "little")
    if kind in _FLOATS:
        return int.from_bytes(_FLOATS[kind].pack(value), "little")
    return int(value)


def fits(expected: Json, value: Any, *, raw: bool) -> bool:
    """Whether a result is what was expected, bit for bit or of the class of NaN.

    Args:
        expected: The pattern.
        value: The result.
        raw: Whether it came as bits.
    """
    kind = expected["type"]
    if kind == "either":
        return any(fits(one, value, raw=raw) for one in expected["values"])
    if is_reference(expected):
        return _fits_reference(expected, value)
    bits = value if raw else python_bits(kind, value)
    if kind != "v128":
        return _fits_lane(kind, expected["value"], bits)
    lane, width = expected["lane_type"], _WIDTHS[expected["lane_type"]]
    return all(
        _fits_lane(lane, text, bits >> width * i & (1 << width) - 1)
        for i, text in enumerate(expected["value"])
    )


def _fits_reference(expected: Json, value: Any) -> bool:
    text = expected.get("value")
    if text == "null" or expected["type"] in _NULLS:
        return value is None
    if expected["type"] == "funcref":
        # Any function will do: scripts have no names for them, though wast2json may write a 0.
        return callable(value)
    return value is not None if text is None else bool(value == HostReference(int(text)))


def _fits_lane(kind: str, text: str, bits: int) -> bool:
    width = _WIDTHS[kind]
    if not text.startswith("nan:"):
        return bits == _unsigned(text, width)
    infinite, quiet = _NANS[width]
    magnitude = bits & (1 << width - 1) - 1
    # Canonical: the first bit of the fraction alone; arithmetic: that one, and any others.
    if text == "nan:canonical":
        return magnitude == infinite | quiet
    return magnitude & (infinite | quiet) == infinite | quiet


def shown(kinds: Sequence[Json], values: Sequence[Any], *, raw: bool) -> str:
    """Results for a message."""
    texts = [
        f"{kind['type']} {value:#x}" if raw and isinstance(value, int) else f"{value!r}"
        for kind, value in zip(kinds, values)
    ]
    return ", ".join(texts) or "nothing"
