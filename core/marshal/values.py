"""Wrappers for bindings that take and give Python numbers themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

from anywasm.core.errors import UnsupportedError
from anywasm.core.gate import CallGate
from anywasm.core.marshal.rules import (
    FLOATS,
    MASKS,
    RANGES,
    bad_arguments,
    refusal,
    unsupported,
)
from anywasm.core.marshal.source import as_tuple, build, call_wrapper, indent, range_check
from anywasm.core.types import FuncType, ValueType

#: What a value that does not fit raises.
_REFUSALS = (TypeError, ValueError, OverflowError)
_SIGNED = {
    ValueType.I32: "(({0} + 0x80000000) & 0xFFFFFFFF) - 0x80000000",
    ValueType.I64: "(({0} + 0x8000000000000000) & 0xFFFFFFFFFFFFFFFF) - 0x8000000000000000",
}


def _normal(name: str, type: ValueType, signed: bool) -> list[str]:
    if type in FLOATS:
        # Arithmetic would lose the sign of -0.0 (x + 0.0) or make a signalling NaN quiet.
        return [f"if {name}.__class__ is not float: {name} = copysign({name}, {name})"]
    if type is ValueType.V128:
        return [f"{name} = vector({name})"]
    if type not in RANGES:
        return []  # a reference, which the binding judges
    convert = _SIGNED[type].format(name) if signed else f"{name} & {MASKS[type]}"
    # What nothing changes, as is most, is only compared.
    low, high = RANGES[type][0] if signed else 0, RANGES[type][1] >> signed
    return [
        f"if {name}.__class__ is not int or not {low} <= {name} <= {high}:",
        *indent([range_check(name, type), f"{name} = {convert}"], 1),
    ]


def _unsigned(name: str, type: ValueType) -> str:
    return f"{name} & {MASKS[type]}" if type in RANGES else name


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
        body = [f"{as_tuple(results)} = {call}", f"return {as_tuple(unsigned)}"]
    head = "def make(gate, invoke, name, type):"
    return build(call_wrapper(params, store, body, head), f"export {type}")


def value_export(
    name: str,
    type: FuncType,
    gate: CallGate,
    invoke: Callable[..., Any],
    *,
    signed: bool,
    others: frozenset[ValueType] = frozenset(),
) -> Callable[..., Any]:
    """The Python callable for an export whose binding takes Python numbers.

    Args:
        name: The export's name, for messages.
        type: Its type.
        gate: The instance's gate, passed around each call.
        invoke: The binding's function: takes ints (signed if `signed`, else unsigned) and floats,
            returns what they are in either signedness, and raises what ended the call early.
        signed: Which ints the binding takes.
        others: The types that the binding takes beside numbers; vectors go in and out as bytes.

    Raises:
        UnsupportedError: Not here but by the callable, where the type has values that cannot cross.
    """
    reason = unsupported(type, others)
    if reason is not None:
        return refusal(name, reason)
    return _value_export(type, signed)(gate, invoke, name, type)  # type: ignore[no-any-return]


@cache
def _arguments(type: FuncType) -> Callable[..., tuple[Any, ...]]:
    params = [f"a{i}" for i in range(len(type.params))]
    lines = [
        "def make():",
        "    def arguments(args):",
        f"        {as_tuple(params)} = args",
        *indent([line for n, t in zip(params, type.params) for line in _normal(n, t, True)], 2),
        f"        return {as_tuple(params)}",
        "    return arguments",
    ]
    return build(lines, f"arguments {type}")()  # type: ignore[no-any-return]


@cache
def _checked_export(type: FuncType) -> Callable[..., Any]:
    params = [f"a{i}" for i in range(len(type.params))]
    results = [f"r{i}" for i in range(len(type.results))]
    unsigned = [
        f"{n} if {n} >= 0 else {_unsigned(n, t)}" if t in RANGES else n
        for n, t in zip(results, type.results)
    ]
    took = "_" if not results else "r0" if len(results) == 1 else as_tuple(results)
    lines = [
        "def make(gate, invoke, again):",
        "    def call(*args):",
        # The wrong thread is seen by the binding: to ask here which one it is takes as long as all
        # the rest.
        "        if gate.expires is not None or gate._closed: gate.check()",
        "        try:",
        f"            {as_tuple(params)} = args",
        f"            {took} = invoke(*args)",
        "        except BaseException as error:",
        f"            {took} = again(error, invoke, args)",
    ]
    if results:
        lines.append(f"        return {unsigned[0] if len(results) == 1 else as_tuple(unsigned)}")
    forget = ["def forget():", "    nonlocal invoke", "    invoke = None"]
    return build([*lines, *indent(forget, 1), "    return call, forget"], f"export {type}")


def checked_export(
    name: str,
    type: FuncType,
    gate: CallGate,
    invoke: Callable[..., Any],
    fail: Callable[[BaseException], NoReturn],
) -> tuple[Callable[..., Any], Callable[[], None]]:
    """As `value_export`, for a binding that looks at numbers and threads itself.

    It may refuse numbers that are right, which are converted then; but it takes nothing that is
    wrong, apart from a wrong count. No lock is taken: see `anywasm.core.stack_lock`.

    Args:
        name: The export's name, for messages.
        type: Its type, of numbers alone.
        gate: The gate of an instance that is bound to a thread, with a `StackLock`.
        invoke: The binding's function: takes ints of either signedness and floats, returns signed
            ints and floats. Where it refuses them, a TypeError, ValueError or OverflowError is
            raised in its caller; those of host functions come with these functions' frames. In
            another thread it raises whatever exception, before anything else.
        fail: Raises what the exception that ended a call stands for.

    Returns:
        The callable, and what makes it let go of `invoke`, once the gate is shut.
    """
    arguments = _arguments(type)

    def again(error: BaseException, invoke: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            at = error.__traceback__
            gate.check_usable()
            if error.__class__ in _REFUSALS and (at is None or at.tb_next is None):
                try:
                    fit = arguments(args)
                except _REFUSALS:
                    raise bad_arguments(name, type, args) from None
                try:
                    return invoke(*fit)
                except BaseException as second:
                    error = second
            fail(error)
        finally:
            del error, at  # whose frames hold this one

    return _checked_export(type)(gate, invoke, again)  # type: ignore[no-any-return]


@cache
def _value_host(type: FuncType, signed: bool, timed: bool) -> Callable[..., Any]:
    params = [f"a{i}" for i in range(len(type.params))]
    args = ", ".join(_unsigned(n, t) for n, t in zip(params, type.params))
    results = [f"r{i}" for i in range(len(type.results))]
    if not results:
        rest = ["if r is not None: raise bad_result(name, type, r)"]
    else:
        target = "r0 = r" if len(results) == 1 else f"{as_tuple(results)} = r"
        store = [line for n, t in zip(results, type.results) for line in _normal(n, t, signed)]
        rest = [
            "try:",
            f"    {target}",
            *indent(store, 1),
            "except (TypeError, ValueError, OverflowError):",
            "    raise bad_result(name, type, r) from None",
            f"return {results[0] if len(results) == 1 else as_tuple(results)}",
        ]
    lines = [
        "def make(fn, gate, name, type):",
        f"    def host({', '.join(params)}):",
        f"        r = fn({args})",
        *(["        if gate.expires is not None: gate.check_time()"] if timed else []),
        *indent(rest, 2),
        "    return host",
    ]
    return build(lines, f"host function {type}")


def value_host(
    name: str,
    type: FuncType,
    fn: Callable[..., Any],
    *,
    signed: bool,
    gate: CallGate | None = None,
    others: frozenset[ValueType] = frozenset(),
) -> Callable[..., Any]:
    """A host function as a binding that deals in Python numbers calls it.

    Args:
        name: The import's name, for messages.
        type: Its type.
        fn: What it does.
        signed: Which ints the binding takes.
        gate: The instance's, where a deadline that has passed is to be raised on return.
        others: The types that the binding takes beside numbers; vectors go in and out as bytes.

    Raises:
        UnsupportedError: Where the type has values that cannot cross.
    """
    reason = unsupported(type, others)
    if reason is not None:
        raise UnsupportedError(f"host function {name}: {reason}")
    return _value_host(type, signed, gate is not None)(fn, gate, name, type)  # type: ignore[no-any-return]
