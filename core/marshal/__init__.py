"""How numbers cross the seam: one set of rules, compiled once per function type.

Arguments: any int from -2^31 to 2^32-1 for i32, from -2^63 to 2^64-1 for i64, any int or float for
f32 (rounded) and f64, 16 bytes for v128. Results, and the arguments of host functions, come as
unsigned ints, floats and bytes. No result is None, one is a value, several are a tuple.

A call must look nothing up, so for each function type the Python source of its wrapper is written
out with every check, mask and slot number in place, and compiled once per process (the way
`dataclasses` and `namedtuple` do it). Only value types and numbers go into that source, never text
from a module. Two layouts exist: slots (numbers in a buffer shared with the engine's C code) and
values (a binding that takes Python numbers itself).
"""

from anywasm.core.marshal.bits import bits_adapter, bits_type, check_bits, value_bits
from anywasm.core.marshal.rules import (
    BYTE_WIDTHS,
    TAGS,
    bad_arguments,
    bad_result,
    check_value,
    refusal,
)
from anywasm.core.marshal.slots import (
    SlotLayout,
    SlotViews,
    slot_export,
    slot_export_bits,
    slot_host,
)
from anywasm.core.marshal.values import checked_export, value_export, value_host

__all__ = [
    "BYTE_WIDTHS",
    "TAGS",
    "SlotLayout",
    "SlotViews",
    "bad_arguments",
    "bad_result",
    "bits_adapter",
    "bits_type",
    "check_bits",
    "check_value",
    "checked_export",
    "refusal",
    "slot_export",
    "slot_export_bits",
    "slot_host",
    "value_bits",
    "value_export",
    "value_host",
]
