"""The call path: exports and host functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from anywasm.core.gate import CallGate
from anywasm.core.marshal import value_export, value_host
from anywasm.core.types import NUMERIC, FuncType
from anywasm.engines.fastcall import native as fastcall
from anywasm.engines.fastcall import signature
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
    letters = signature(type)
    if letters is not None and NUMERIC.issuperset(type.params + type.results):

        def fail(error: BaseException) -> NoReturn:
            mapped = map_exceptions(error, frame)
            if mapped is error:
                raise error
            raise mapped from error

        return fastcall.WasmerExport(native, gate, name, type, *letters, fail)

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
    letters = signature(type)
    host: Callable[..., Any]
    if letters is not None and NUMERIC.issuperset(type.params + type.results):
        host = fastcall.WasmerHost(None, gate, name, type, *letters, fn)
    else:
        host = value_host(name, type, fn, signed=True, gate=gate)
    return binding.function(store, host, binding.func_type(type))
