"""References that cross between host and guest: functions, and any objects of the host.

They travel in `wasmtime_val_t`, which the engine checks and roots, off the path of plain numbers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anywasm.core.errors import ArgumentError
from anywasm.core.instance import Exports
from anywasm.core.marshal import refusal, value_export, value_host
from anywasm.core.types import REFERENCES, ExternKind, FuncType, ValueType
from anywasm.engines.wasmtime.errors import call_error
from anywasm.engines.wasmtime.library import (
    ValueCallback,
    externref_data,
    externref_new,
    externref_release,
    externrefs,
    ffi,
    func_call,
    func_new,
    val_unroot,
)

if TYPE_CHECKING:
    from anywasm.engines.wasmtime.calls import Calls

#: What crosses beside numbers.
OTHERS = REFERENCES | {ValueType.V128}
#: `wasmtime_valkind_t` of the types that can cross, and their fields of `wasmtime_valunion_t`.
_KINDS = {
    ValueType.I32: (ffi.WASMTIME_I32, "i32"),
    ValueType.I64: (ffi.WASMTIME_I64, "i64"),
    ValueType.F32: (ffi.WASMTIME_F32, "f32"),
    ValueType.F64: (ffi.WASMTIME_F64, "f64"),
    ValueType.V128: (ffi.WASMTIME_V128, "v128"),
    ValueType.FUNCREF: (ffi.WASMTIME_FUNCREF, "funcref"),
    ValueType.EXTERNREF: (ffi.WASMTIME_EXTERNREF, "externref"),
}
_VALUE = ffi.wasmtime_val_t
_VALUE_SIZE = ctypes.sizeof(_VALUE)


def holds_references(type: FuncType) -> bool:
    """Whether a function of that type takes or gives references."""
    return not REFERENCES.isdisjoint(type.params + type.results)


class References:
    """The references of one store."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        #: The functions that Python knows: by identity, and by what wasmtime calls them.
        self._natives: dict[int, tuple[Callable[..., Any], bytes]] = {}
        self._callables: dict[bytes, Callable[..., Any]] = {}
        self._exports: list[Exports] = []

    def close(self) -> None:
        """Forget them all."""
        self._natives.clear()
        self._callables.clear()
        self._exports.clear()

    # --- functions ---

    def add_exports(self, exports: Exports) -> None:
        """Take note of an instance, by whose exports functions are known."""
        self._exports.append(exports)

    def add(self, fn: Callable[..., Any], func: Any) -> Callable[..., Any]:
        """Take note that the callable `fn` is the `wasmtime_func_t` `func`; returns what is used.

        The same function may be exported more than once: the first callable stands for it.
        """
        native = bytes(func)
        self._natives[id(fn)] = fn, native
        self._callables.setdefault(native, fn)
        return fn

    def native(self, fn: object) -> bytes | None:
        """The `wasmtime_func_t` of a callable, None for one that is not of this store."""
        found = self._natives.get(id(fn))
        return None if found is None else found[1]

    def _callable(self, native: bytes) -> Callable[..., Any]:
        known = self._callables.get(native)
        if known is None:
            # Exports are bound, and so become known here, when they are first asked for.
            for exports in self._exports:
                for name, export in exports.types.items():
                    if export.kind is ExternKind.FUNCTION:
                        exports[name]
            known = self._callables.get(native)
        if known is None:
            # The C API ends the process where it is asked for a type that it cannot describe.
            reason = "only a function that is exported can be called from the host"
            known = refusal("a reference", reason)
            self._natives[id(known)] = known, native
            self._callables[native] = known
        return known

    # --- values ---

    def lower(self, type: ValueType, value: Any, place: Any) -> None:
        """Write a value of that type to a `wasmtime_val_t`, which is to be unrooted after use.

        Raises:
            ArgumentError: For what is no such value.
        """
        kind, field = _KINDS[type]
        place.kind = kind
        if type is ValueType.V128:
            ctypes.memmove(place.of.v128, value, 16)
        elif type is ValueType.FUNCREF:
            native = bytes(ctypes.sizeof(place.of.funcref)) if value is None else self.native(value)
            if native is None:
                raise _no_function(value)
            ctypes.memmove(ctypes.addressof(place.of.funcref), native, len(native))
        elif type is ValueType.EXTERNREF:
            place.of.externref.store_id = 0
            if value is not None:
                handle = ctypes.c_size_t(externrefs.allocate(value))
                target = ctypes.byref(place.of.externref)
                externref_new(self._calls.context, handle, externref_release, target)
        else:
            setattr(place.of, field, value)

    def lift(self, type: ValueType, place: Any) -> Any:
        """The value of that type in a `wasmtime_val_t`, which stays rooted."""
        if type is ValueType.V128:
            return bytes(place.of.v128)
        if type is ValueType.FUNCREF:
            func = place.of.funcref
            return self._callable(bytes(func)) if func.store_id else None
        if type is ValueType.EXTERNREF:
            reference = place.of.externref
            if not reference.store_id:
                return None
            return externrefs.get(externref_data(self._calls.context, ctypes.byref(reference)))
        return getattr(place.of, _KINDS[type][1])

    def lower_all(self, types: tuple[ValueType, ...], values: Any, places: Any) -> None:
        """`lower` for each; where one is refused, none stays rooted."""
        for done, (kind, value) in enumerate(zip(types, values)):
            try:
                self.lower(kind, value, places[done])
            except BaseException:
                unroot(places, done)
                raise

    # --- functions that take or give references ---

    def export(self, name: str, func: Any, type: FuncType) -> Callable[..., Any]:
        """As `Calls.export`."""
        params, results = type.params, type.results
        calls = self._calls

        def invoke(*args: Any) -> Any:
            given, got = (_VALUE * len(params))(), (_VALUE * len(results))()
            self.lower_all(params, args, given)
            try:
                calls.run(
                    func_call,
                    calls.context,
                    ctypes.byref(func),
                    given,
                    ctypes.c_size_t(len(params)),
                    got,
                    ctypes.c_size_t(len(results)),
                    failure=call_error,
                )
            finally:
                unroot(given, len(params))
            try:
                values = tuple(map(self.lift, results, got))
            finally:
                unroot(got, len(results))
            return values if len(values) != 1 else values[0]

        return value_export(name, type, calls.gate, invoke, signed=True, others=OTHERS)

    def define_host(
        self, name: str, type: FuncType, native_type: Any, fn: Callable[..., Any], func: Any
    ) -> Any:
        """As `Calls.define_host`; returns what must be kept while the store lives."""
        host = value_host(name, type, fn, signed=True, gate=self._calls.gate, others=OTHERS)
        params, results = type.params, type.results
        calls = self._calls

        def callback(
            _env: int, _caller: int, given: int, _count: int, wanted: int, _wanted_count: int
        ) -> int:
            try:
                values = (_VALUE * len(params)).from_address(given) if params else ()
                answer = host(*map(self.lift, params, values))
                if results:
                    places = (_VALUE * len(results)).from_address(wanted)
                    answers = answer if len(results) > 1 else (answer,)
                    self.lower_all(results, answers, places)
            except BaseException as error:
                return calls.end(error)
            return 0

        thunk = ValueCallback(callback)
        func_new(calls.context, native_type, thunk, None, None, func)
        return thunk


def _no_function(value: object) -> ArgumentError:
    reason = f"{value!r} is no function of this store's instances, nor None"
    if callable(value):
        # As the JS API has it: without a type it is none that WebAssembly could call.
        reason += " (Python functions have no WebAssembly type: have a module import and export it)"
    return ArgumentError(reason)


def unroot(places: Any, count: int) -> None:
    """Let go of the references in the first `count` of an array of `wasmtime_val_t`."""
    for i in range(count):
        val_unroot(ctypes.byref(places, i * _VALUE_SIZE))
