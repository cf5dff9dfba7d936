from __future__ import annotations

from typing import Any

import pytest

from anywasm.testing.conformance.values import HostReference, bits_of, fits, python_of

F32, F64 = {"type": "f32"}, {"type": "f64"}
CANONICAL, ARITHMETIC = "nan:canonical", "nan:arithmetic"


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        ({"type": "i32", "value": "4294967295"}, 2**32 - 1),
        ({"type": "i32", "value": "-1"}, 2**32 - 1),
        ({"type": "i64", "value": "-2"}, 2**64 - 2),
        ({"type": "v128", "lane_type": "i16", "value": ["1", "-1", *"000000"]}, 0xFFFF_0001),
        ({"type": "v128", "lane_type": "i64", "value": ["3", "1"]}, 1 << 64 | 3),
    ],
)
def test_bits(value: dict[str, Any], bits: int) -> None:
    assert bits_of(value) == bits
    assert fits(value, bits, raw=True)
    assert not fits(value, bits ^ 1, raw=True)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"type": "i64", "value": "7"}, 7),
        ({"type": "f32", "value": str(0x3FC0_0000)}, 1.5),
        ({"type": "f64", "value": str(1 << 63)}, -0.0),
        ({"type": "v128", "lane_type": "i8", "value": list("0123456789012345")}, None),
        ({"type": "externref", "value": "5"}, HostReference(5)),
        ({"type": "funcref", "value": "null"}, None),
        ({"type": "externref", "value": "null"}, None),
    ],
)
def test_values_as_python_has_them(value: dict[str, Any], result: Any) -> None:
    if value["type"] == "v128":
        result = bytes(map(int, value["value"]))
    made = python_of(value)
    assert repr(made) == repr(result)
    assert fits(value, made, raw=False)


@pytest.mark.parametrize(
    ("kind", "bits", "classes"),
    [
        (F32, 0x7FC0_0000, {CANONICAL, ARITHMETIC}),
        (F32, 0xFFC0_0000, {CANONICAL, ARITHMETIC}),
        (F32, 0x7FC0_0001, {ARITHMETIC}),
        (F32, 0x7FA0_0000, set()),
        (F32, 0x7F80_0000, set()),
        (F32, 0x0040_0000, set()),
        (F64, 0x7FF8 << 48, {CANONICAL, ARITHMETIC}),
        (F64, 0xFFFC << 48, {ARITHMETIC}),
        (F64, 0x7FF4 << 48, set()),
    ],
)
def test_classes_of_nan(kind: dict[str, str], bits: int, classes: set[str]) -> None:
    for text in (CANONICAL, ARITHMETIC):
        assert fits({**kind, "value": text}, bits, raw=True) is (text in classes)


def test_nan_in_a_lane() -> None:
    expected = {"type": "v128", "lane_type": "f32", "value": [CANONICAL, "0", ARITHMETIC, "1"]}
    lanes = (0x7FC0_0000, 0, 0x7FC0_0009, 1)
    assert fits(expected, sum(lane << 32 * i for i, lane in enumerate(lanes)), raw=True)
    assert not fits(expected, 1 << 96 | 0x7FC0_0009 << 64 | 0x7FC0_0009, raw=True)


@pytest.mark.parametrize(
    ("expected", "fitting", "other"),
    [
        ({"type": "funcref"}, print, None),
        ({"type": "funcref", "value": "0"}, print, None),
        ({"type": "funcref", "value": "null"}, None, print),
        ({"type": "externref"}, HostReference(0), None),
        ({"type": "externref", "value": "2"}, HostReference(2), HostReference(3)),
        ({"type": "refnull"}, None, HostReference(3)),
    ],
)
def test_references(expected: dict[str, str], fitting: object, other: object) -> None:
    assert fits(expected, fitting, raw=False)
    assert not fits(expected, other, raw=False)


def test_either() -> None:
    expected = {"type": "either", "values": [{"type": "i32", "value": v} for v in "12"]}
    assert [fits(expected, value, raw=True) for value in (0, 1, 2)] == [False, True, True]
