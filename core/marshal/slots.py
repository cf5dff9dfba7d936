"""Wrappers for engines whose C code shares a buffer of 64-bit slots with its callers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from anywasm.core.errors import ArgumentError, UnsupportedError
from anywasm.core.gate import CallGate
from anywasm.core.marshal.rules import (
    BYTE_WIDTHS,
    MASKS,
    RANGES,
    TAGS,
    bad_arguments,
    refusal,
    unsupported,
)
from anywasm.core.marshal.source import as_tuple, build, call_wrapper, indent, range_check
from anywasm.core.types import FuncType, ValueType


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
        tagged: Whether a value's first slot tells its kind and the second holds it, as in the
            `wasm_val_t` of the C API. Results are then apart from arguments: an export's follow
            its arguments, those of a host function have a buffer of their own.
    """

    stride: int
    results_first: bool = False
    v128: bool = False
    tagged: bool = False

    @property
    def others(self) -> frozenset[ValueType]:
        """What can cross beside numbers."""
        return frozenset({ValueType.V128}) if self.v128 else frozenset()

    def size(self, type: FuncType) -> int:
        """The bytes that a buffer for calls of this type needs (never zero)."""
        params, results = len(type.params), len(type.results)
        values = params + results if self.tagged else max(params, results)
        return 8 * self.stride * max(values, 1)

    def slot(self, value: int) -> int:
        """The slot that holds a value."""
        return self.stride * value + self.tagged

    def results(self, type: FuncType) -> int:
        """What is added to a result's number to find it in the buffer of an export."""
        return len(type.params) if self.tagged else 0


def _store(name: str, type: ValueType, slot: int, to: str = "") -> list[str]:
    if type in RANGES:
        return [range_check(name, type), f"{to}q[{slot}] = {name} & {MASKS[type]}"]
    if type is ValueType.F64:
        return [f"{to}d[{slot}] = {name}"]
    if type is ValueType.F32:
        return [f"{to}q[{slot}] = 0", f"{to}f[{2 * slot}] = {name}"]
    return [f"{to}b[{8 * slot}:{8 * slot + 16}] = {name}"]


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


@cache
def _slot_export(type: FuncType, layout: SlotLayout) -> Callable[..., Any]:
    params = [f"a{i}" for i in range(len(type.params))]
    store = [
        line
        for i, value in enumerate(type.params)
        for line in _store(f"a{i}", value, layout.slot(i))
    ]
    first = layout.results(type)
    loads = [_load(value, layout.slot(i)) for i, value in enumerate(type.results, first)]
    body = ["invoke()"]
    if loads:
        body.append(f"return {loads[0] if len(loads) == 1 else as_tuple(loads)}")
    head = "def make(gate, invoke, q, d, f, b, name, type):"
    return build(call_wrapper(params, store, body, head), f"export {type}")


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
    reason = unsupported(type, layout.others)
    if reason is not None:
        return refusal(name, reason)
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
    reason = unsupported(type, layout.others)
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
            place = 8 * layout.slot(i)
            try:
                raw = value.to_bytes(BYTE_WIDTHS[kind], "little")
            except (AttributeError, OverflowError):
                raise ArgumentError(f"{name}: {value!r} is no unsigned {kind} bits") from None
            slots.b[place : place + max(8, len(raw))] = raw.ljust(8, b"\0")
        invoke()
        results = tuple(
            int.from_bytes(slots.b[8 * layout.slot(i) :][: BYTE_WIDTHS[kind]], "little")
            for i, kind in enumerate(type.results, layout.results(type))
        )
    finally:
        gate.release()
    return results if len(results) > 1 else results[0] if results else None


@cache
def _slot_host(type: FuncType, layout: SlotLayout) -> Callable[..., Any]:
    first = len(type.results) if layout.results_first else 0
    args = ", ".join(_load(v, layout.slot(i)) for i, v in enumerate(type.params, first))
    results = [f"r{i}" for i in range(len(type.results))]
    to = "r" if layout.tagged else ""
    store = [
        line
        for i, value in enumerate(type.results)
        for line in _store(f"r{i}", value, layout.slot(i), to)
    ]
    if layout.tagged:
        store += [f"rq[{layout.stride * i}] = {TAGS[v]}" for i, v in enumerate(type.results)]
    if not results:
        rest = ["if r is not None: raise bad_result(name, type, r)"]
    else:
        target = "r0 = r" if len(results) == 1 else f"{as_tuple(results)} = r"
        rest = [
            "try:",
            f"    {target}",
            *indent(store, 1),
            "except (TypeError, ValueError, OverflowError):",
            "    raise bad_result(name, type, r) from None",
        ]
    lines = [
        "def make(fn, name, type):",
        f"    def host(q, d, f, b{', rq, rd, rf, rb' if layout.tagged else ''}):",
        f"        r = fn({args})",
        *indent(rest, 2),
        "    return host",
    ]
    return build(lines, f"host function {type}")


def slot_host(
    name: str, type: FuncType, layout: SlotLayout, fn: Callable[..., Any]
) -> Callable[..., None]:
    """A host function as an engine's C code calls it: on the views `q, d, f, b` of its slots.

    In a tagged layout those are of its arguments, and four more are of its results.

    Raises:
        UnsupportedError: Where the type has values that cannot cross.
    """
    reason = unsupported(type, layout.others)
    if reason is not None:
        raise UnsupportedError(f"host function {name}: {reason}")
    return _slot_host(type, layout)(fn, name, type)  # type: ignore[no-any-return]
