"""The call path: exports and host functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anywasm.core.gate import CallGate
from anywasm.core.marshal import value_export, value_host
from anywasm.core.types import FuncType
from anywasm.engines.wasmer.errors import Frame, map_exceptions, plain_frame
from anywasm.engines.wasmer.library import Binding


def bind_export(
    gate: CallGate,
    name: str,
    type: FuncType,
    native: Callable[..., Any],
    frame: Frame = plain_frame,
) -> Callable[..., Any]:
    """The callable that `Instance.exports` hands out; `frame` names functions in backtraces."""

    def invoke(*args: Any) -> Any:
        try:
            return native(*args)
        except BaseException as error:
            mapped = map_exceptions(error, frame)
            if mapped is error:
                raise
            raise mapped from error

    return value_export(name, type, gate, invoke, signed=True)


def bind_host(
    binding: Binding, store: Any, gate: CallGate, name: str, type: FuncType, fn: Callable[..., Any]
) -> Any:
    """A host function as wasmer takes it."""
    host = value_host(name, type, fn, signed=True, gate=gate)
    return binding.function(store, host, binding.func_type(type))
