"""The call path: exports and host functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from anywasm.core.gate import CallGate
from anywasm.core.marshal import checked_export, value_export, value_host
from anywasm.core.types import NUMERIC, FuncType, ValueType
from anywasm.engines.fastcall import native as fastcall
from anywasm.engines.fastcall import signature
from anywasm.engines.wasmer.errors import Frame, map_exceptions
from anywasm.engines.wasmer.library import Binding

#: What the binding takes beside numbers.
VECTORS = frozenset({ValueType.V128})


def bind_export(
    gate: CallGate,
    name: str,
    type: FuncType,
    native: Callable[..., Any] | None,
    frame: Frame,
    at_close: list[Callable[[], None]],
) -> Callable[..., Any]:
    """The callable that `Instance.exports` hands out.

    Args:
        gate: The instance's gate.
        name: The export's name, for messages.
        type: Its type.
        native: The binding's function.
        frame: Names functions in backtraces.
        at_close: Gets what lets go of `native`, which holds the instance with all its host
            functions; and those mostly hold the export, a circle that no garbage collector sees.
    """

    def fail(error: BaseException) -> NoReturn:
        mapped = map_exceptions(error, frame)
        if mapped is error:
            raise error
        raise mapped from error

    letters = signature(type)
    if NUMERIC.issuperset(type.params + type.results):
        assert native is not None
        if letters is not None:
            export = fastcall.WasmerExport(native, gate, name, type, *letters, fail)
            at_close.append(export.forget)
            return export
        call, let_go = checked_export(name, type, gate, native, fail)
        at_close.append(let_go)
        return call

    def forget() -> None:
        nonlocal native
        native = None

    at_close.append(forget)

    def invoke(*args: Any) -> Any:
        try:
            assert native is not None  # the gate is shut before
            return native(*args)
        except BaseException as error:
            mapped = map_exceptions(error, frame)
            if mapped is error:
                raise
            raise mapped from error

    if ValueType.V128 in type.params + type.results:
        # The binding's vectors are ints.
        whole = invoke
        invoke = _converted(whole, type.params, to_int, type.results, to_bytes)
    return value_export(name, type, gate, invoke, signed=True, others=VECTORS)


def bind_host(
    binding: Binding, store: Any, gate: CallGate, name: str, type: FuncType, fn: Callable[..., Any]
) -> Any:
    """A host function as wasmer takes it."""
    letters = signature(type)
    host: Callable[..., Any]
    if letters is not None and NUMERIC.issuperset(type.params + type.results):
        host = fastcall.WasmerHost(None, gate, name, type, *letters, fn)
    else:
        host = value_host(name, type, fn, signed=True, gate=gate, others=VECTORS)
    if ValueType.V128 in type.params + type.results:
        host = _converted(host, type.params, to_bytes, type.results, to_int)
    return binding.function(store, host, binding.func_type(type))


def to_int(vector: bytes) -> int:
    """A vector as the binding takes it."""
    return int.from_bytes(vector, "little")


def to_bytes(vector: int) -> bytes:
    """A vector of the binding's."""
    return vector.to_bytes(16, "little")


def _converted(
    function: Callable[..., Any],
    params: tuple[ValueType, ...],
    convert: Callable[[Any], Any],
    results: tuple[ValueType, ...],
    convert_back: Callable[[Any], Any],
) -> Callable[..., Any]:
    """The function with its vectors converted on the way in and out."""

    def each(types: tuple[ValueType, ...], values: Any, convert: Callable[[Any], Any]) -> list[Any]:
        return [
            convert(value) if kind is ValueType.V128 else value
            for kind, value in zip(types, values)
        ]

    def call(*args: Any) -> Any:
        answer = function(*each(params, args, convert))
        if len(results) == 1:
            return each(results, (answer,), convert_back)[0]
        return tuple(each(results, answer, convert_back)) if results else answer

    return call
