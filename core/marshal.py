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

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import copysign
from typing import Any

from anywasm.core.errors import ArgumentError, UnsupportedError
from anywasm.core.gate import CallGate
from anywasm.core.types import FuncType, ValueType

_RANGES = {ValueType.I32: (-(1 << 31), (1 << 32) - 1), ValueType.I64: (-(1 << 63), (1 << 64) - 1)}
_MASKS = {ValueType.I32: "0xFFFFFFFF", ValueType.I64: "0xFFFFFFFFFFFFFFFF"}
_SIGNED = {
    ValueType.I32: "(({0} + 0x80000000) & 0xFFFFFFFF) - 0x80000000",
    ValueType.I64: "(({0} + 0x8000000000000000) & 0xFFFFFFFFFFFFFFFF) - 0x8000000000000000",
}
_FLOATS = frozenset({ValueType.F32, ValueType.F64})


class SlotViews:
    """One buffer of 64-bit slots, seen as each kind of number."""

    __slots__ = ("b", "d", "f", "q")

    def __init__(self, buffer: memoryview) -> None:
        self.b = buffer.cast("B")
        self.q = self.b.cast("Q")
        self.d = self.b.cast("d")
        self.f = self.b.cast("f")


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """Where an engine's C code keeps the values of a call.

    Attributes:
        stride: 64-bit slots per value.
        results_first: Whether a host function's results precede its arguments; otherwise both
            start at the first slot, as an export's always do.
        v128: Whether a slot pair can hold a vector.
    """

    stride: int
    results_first: bool = False
    v128: bool = False

    def size(self, type: FuncType) -> int:
        """The bytes that a buffer for calls of this type needs (never zero)."""
        return 8 * self.stride * max(len(type.params), len(type.results), 1)


# --- explaining what is wrong, off the hot path --------------------------------------------------


def _describe(values: Sequence[object], types: tuple[ValueType, ...]) -> str | None:
    for position, (value, type_) in enumerate(zip(values, types)):
        if type_ in _RANGES:
            low, high = _RANGES[type_]
            if isinstance(value, float) or not hasattr(value, "__index__"):
                return f"value {position} must be an int for {type_}, not {value!r}"
            if not low <= value.__index__() <= high:
                return f"value {position} is out of range for {type_}: {value!r}"
        elif type_ in _FLOATS:
            if isinstance(value, str) or not (
                hasattr(value, "__float__") or hasattr(value, "__index__")
            ):
                return f"value {position} must be a float for {type_}, not {value!r}"
        elif type_ is ValueType.V128 and not (
            isinstance(value, (bytes, bytearray, memoryview)) and len(value) == 16
        ):
            return f"value {position} must be 16 bytes for v128, not {value!r}"
    return None


def bad_arguments(name: str, type: FuncType, args: Sequence[object]) -> ArgumentError:
    """The error for a call that was given the wrong arguments."""
    if len(args) != len(type.params):
        return ArgumentError(
            f"{name} takes {len(type.params)} arguments ({' '.join(type.params)}), not {len(args)}"
        )
    return ArgumentError(f"{name}: {_describe(args, type.params) or 'wrong arguments'}")


def bad_result(name: str, type: FuncType, result: object) -> ArgumentError:
    """The error for a host function that returned something else than its type says."""
    count = len(type.results)
    if count == 0:
        return ArgumentError(f"host function {name} has no results but returned {result!r}")
    if count == 1:
        what = _describe((result,), type.results)
        return ArgumentError(f"host function {name}: {what or f'wrong result {result!r}'}")
    if not isinstance(result, (tuple, list)) or len(result) != count:
        return ArgumentError(f"host function {name} must return {count} values, not {result!r}")
    return ArgumentError(
        f"host function {name}: {_describe(result, type.results) or 'wrong result'}"
    )


def _unsupported(type: FuncType, layout: SlotLayout | None) -> str | None:
    """Why values of this type cannot cross, or None."""
    for value in type.params + type.results:
        if value in _RANGES or value in _FLOATS:
            continue
        if value is ValueType.V128 and layout is not None and layout.v128:
            continue
        return f"values of type {value} cannot be passed between host and guest on this engine"
    return None


# --- writing the source --------------------------------------------------------------------------


def _tuple(names: Sequence[str]) -> str:
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def _range_check(name: str, type: ValueType) -> str:
    low, high = _RANGES[type]
    return f"if not {low} <= {name} <= {high}: raise OverflowError"


def _store(name: str, type: ValueType, slot: int) -> list[str]:
    if type in _RANGES:
        return [_range_check(name, type), f"q[{slot}] = {name} & {_MASKS[type]}"]
    if type is ValueType.F64:
        return [f"d[{slot}] = {name}"]
    if type is ValueType.F32:
        return [f"q[{slot}] = 0", f"f[{2 * slot}] = {name}"]
    return [f"b[{8 * slot}:{8 * slot + 16}] = {name}"]


def _load(type: ValueType, slot: int) -> str:
    if type is ValueType.I32:
        return f"q[{slot}] & 0xFFFFFFFF"
    if type is ValueType.I64:
        return f"q[{slot}]"
    if type is ValueType.F64:
        return f"d[{slot}]"
    if type is ValueType.F32:
        return f"f[{2 * slot}]"
    return f"b[{8 * slot}:{8 * slot + 16}].tobytes()"


def _indent(lines: Sequence[str], depth: int) -> list[str]:
    return ["    " * depth + line for line in lines]


def _build(lines: Sequence[str], title: str) -> Callable[..., Any]:
    source = "\n".join(lines) + "\n"
    file = f"<anywasm {title}>"
    # Tracebacks and debuggers show the generated lines.
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    names: dict[str, Any] = {
        "bad_arguments": bad_arguments,
        "bad_result": bad_result,
        # Of a number with itself: that number as a float. Unlike float(), it takes no text.
        "copysign": copysign,
    }
    exec(compile(source, file, "exec"), names)  # noqa: S102 (written above, from types alone)
    return names["make"]  # type: ignore[no-any-return]


def _call_wrapper(
    params: Sequence[str], store: Sequence[str], body: Sequence[str], head: str
) -> list[str]:
    return [
        head,
        "    acquire, release = gate.acquire, gate.release",
        "    def call(*args):",
        "        if not acquire(False): gate.refuse()",
        "        try:",
        # Only now: before, another thread could close the instance after the look at it.
        "            if gate.alert: gate.check()",
        "            try:",
        f"                {_tuple(params) if params else '()'} = args",
        *_indent(store, 4),
        "            except (TypeError, ValueError, OverflowError):",
        "                raise bad_arguments(name, type, args) from None",
        *_indent(body, 3),
        "        finally:",
        "            release()",
        "    return call",
    ]


@cache
def _slot_export(type: FuncType, layout: SlotLayout) -> Callable[..., Any]:
    params = [f"a{i}" for i in range(len(type.params))]
    store = [
        line
        for i, value in enumerate(type.params)
        for line in _store(f"a{i}", value, layout.stride * i)
    ]
    loads = [_load(value, layout.stride * i) for i, value in enumerate(type.results)]
    body = ["invoke()"]
    if loads:
        body.append(f"return {loads[0] if len(loads) == 1 else _tuple(loads)}")
    head = "def make(gate, invoke, q, d, f, b, name, type):"
    return _build(_call_wrapper(params, store, body, head), f"export {type}")


def slot_export(
    name: str,
    type: FuncType,
    layout: SlotLayout,
    gate: CallGate,
    slots: SlotViews,
    invoke: Callable[[], None],
) -> Callable[..., Any]:
    """The Python callable for an export whose values travel in slots.

    Args:
        name: The export's name, for messages.
        type: Its type.
        layout: The engine's slot layout.
        gate: The instance's gate, passed around each call.
        slots: A buffer of at least `layout.size(type)` bytes, this export's own. It needs no copy
            per nested call: the engine reads the arguments before the guest runs and writes the
            results after.
        invoke: Runs the guest on the buffer, and raises what ended the call early.

    Raises:
        UnsupportedError: Not here but by the callable, where the type has values that cannot cross.
    """
    reason = _unsupported(type, layout)
    if reason is not None:
        return _refusal(name, reason)
    make = _slot_export(type, layout)
    return make(gate, invoke, slots.q, slots.d, slots.f, slots.b, name, type)  # type: ignore[no-any-return]


def slot_export_bits(
    type: FuncType,
    layout: SlotLayout,
    gate: CallGate,
    slots: SlotViews,
    invoke: Callable[[], None],
    name: str,
    args: Sequence[int],
) -> int | tuple[int, ...] | None:
    """One call with raw bits instead of numbers, so that NaN payloads survive.

    Each argument and result is an unsigned int of its type's width (v128: 128 bits).

    Raises:
        ArgumentError: For a wrong count or an int wider than its type.
        UnsupportedError: Where the type has values that cannot cross.
    """
    reason = _unsupported(type, layout)
    if reason is not None:
        raise UnsupportedError(f"{name}: {reason}")
    if len(args) != len(type.params):
        raise bad_arguments(name, type, args)
    if not gate.acquire(False):
        gate.refuse()
    try:
        if gate.alert:
            gate.check()
        for i, (value, kind) in enumerate(zip(args, type.params)):
            slot = 8 * layout.stride * i
            try:
                raw = value.to_bytes(BYTE_WIDTHS[kind], "little")
            except (AttributeError, OverflowError):
                raise ArgumentError(f"{name}: {value!r} is no unsigned {kind} bits") from None
            slots.b[slot : slot + max(8, len(raw))] = raw.ljust(8, b"\0")
        invoke()
        results = tuple(
            int.from_bytes(
                slots.b[8 * layout.stride * i : 8 * layout.stride * i + BYTE_WIDTHS[kind]], "little"
            )
            for i, kind in enumerate(type.results)
        )
    finally:
        gate.release()
    return results if len(results) > 1 else results[0] if results else None


#: Bytes of the value types that can cross the seam.
BYTE_WIDTHS = {
    ValueType.I32: 4,
    ValueType.F32: 4,
    ValueType.I64: 8,
    ValueType.F64: 8,
    ValueType.V128: 16,
}


@cache
def _slot_host(type: FuncType, layout: SlotLayout) -> Callable[..., Any]:
    first = layout.stride * len(type.results) if layout.results_first else 0
    args = ", ".join(_load(v, first + layout.stride * i) for i, v in enumerate(type.params))
    results = [f"r{i}" for i in range(len(type.results))]
    store = [
        line
        for i, value in enumerate(type.results)
        for line in _store(f"r{i}", value, layout.stride * i)
    ]
    if not results:
        rest = ["if r is not None: raise bad_result(name, type, r)"]
    else:
        target = "r0 = r" if len(results) == 1 else f"{_tuple(results)} = r"
        rest = [
            "try:",
            f"    {target}",
            *_indent(store, 1),
            "except (TypeError, ValueError, OverflowError):",
            "    raise bad_result(name, type, r) from None",
        ]
    lines = [
        "def make(fn, name, type):",
        "    def host(q, d, f, b):",
        f"        r = fn({args})",
        *_indent(rest, 2),
        "    return host",
    ]
    return _build(lines, f"host function {type}")


def slot_host(
    name: str, type: FuncType, layout: SlotLayout, fn: Callable[..., Any]
) -> Callable[[memoryview, memoryview, memoryview, memoryview], None]:
    """A host function as an engine's C code calls it: on the views `q, d, f, b` of its slots.

    Raises:
        UnsupportedError: Where the type has values that cannot cross.
    """
    reason = _unsupported(type, layout)
    if reason is not None:
        raise UnsupportedError(f"host function {name}: {reason}")
    return _slot_host(type, layout)(fn, name, type)  # type: ignore[no-any-return]


def _refusal(name: str, reason: str) -> Callable[..., Any]:
    def refuse(*args: object) -> None:
        raise UnsupportedError(f"{name}: {reason}")

    return refuse


# --- bindings that take Python numbers themselves ------------------------------------------------


def _normal(name: str, type: ValueType, signed: bool) -> list[str]:
    if type in _FLOATS:
        # Arithmetic would lose the sign of -0.0 (x + 0.0) or make a signalling NaN quiet.
        return [f"if {name}.__class__ is not float: {name} = copysign({name}, {name})"]
    convert = _SIGNED[type].format(name) if signed else f"{name} & {_MASKS[type]}"
    return [_range_check(name, type), f"{name} = {convert}"]


def _unsigned(name: str, type: ValueType) -> str:
    return f"{name} & {_MASKS[type]}" if type in _RANGES else name


@cache
def _value_export(type: FuncType, signed: bool) -> Callable[..., Any]:
    params = [f"a{i}" for i in range(len(type.params))]
    store = [
        line for name, value in zip(params, type.params) for line in _normal(name, value, signed)
    ]
    results = [f"r{i}" for i in range(len(type.results))]
    call = f"invoke({', '.join(params)})"
    if not results:
        body = [call]
    elif len(results) == 1:
        body = [f"r0 = {call}", f"return {_unsigned('r0', type.results[0])}"]
    else:
        unsigned = [_unsigned(n, t) for n, t in zip(results, type.results)]
        body = [f"{_tuple(results)} = {call}", f"return {_tuple(unsigned)}"]
    head = "def make(gate, invoke, name, type):"
    return _build(_call_wrapper(params, store, body, head), f"export {type}")


def value_export(
    name: str, type: FuncType, gate: CallGate, invoke: Callable[..., Any], *, signed: bool
) -> Callable[..., Any]:
    """The Python callable for an export whose binding takes Python numbers.

    Args:
        name: The export's name, for messages.
        type: Its type.
        gate: The instance's gate, passed around each call.
        invoke: The binding's function: takes ints (signed if `signed`, else unsigned) and floats,
            returns what they are in either signedness, and raises what ended the call early.
        signed: Which ints the binding takes.

    Raises:
        UnsupportedError: Not here but by the callable, where the type has values that cannot cross.
    """
    reason = _unsupported(type, None)
    if reason is not None:
        return _refusal(name, reason)
    return _value_export(type, signed)(gate, invoke, name, type)  # type: ignore[no-any-return]


@cache
def _value_host(type: FuncType, signed: bool) -> Callable[..., Any]:
    params = [f"a{i}" for i in range(len(type.params))]
    args = ", ".join(_unsigned(n, t) for n, t in zip(params, type.params))
    results = [f"r{i}" for i in range(len(type.results))]
    if not results:
        rest = ["if r is not None: raise bad_result(name, type, r)"]
    else:
        target = "r0 = r" if len(results) == 1 else f"{_tuple(results)} = r"
        store = [line for n, t in zip(results, type.results) for line in _normal(n, t, signed)]
        rest = [
            "try:",
            f"    {target}",
            *_indent(store, 1),
            "except (TypeError, ValueError, OverflowError):",
            "    raise bad_result(name, type, r) from None",
            f"return {results[0] if len(results) == 1 else _tuple(results)}",
        ]
    lines = [
        "def make(fn, name, type):",
        f"    def host({', '.join(params)}):",
        f"        r = fn({args})",
        *_indent(rest, 2),
        "    return host",
    ]
    return _build(lines, f"host function {type}")


def value_host(
    name: str, type: FuncType, fn: Callable[..., Any], *, signed: bool
) -> Callable[..., Any]:
    """A host function as a binding that deals in Python numbers calls it.

    Raises:
        UnsupportedError: Where the type has values that cannot cross.
    """
    reason = _unsupported(type, None)
    if reason is not None:
        raise UnsupportedError(f"host function {name}: {reason}")
    return _value_host(type, signed)(fn, name, type)  # type: ignore[no-any-return]
