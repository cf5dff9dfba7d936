"""A table that a guest exports."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, TypeVar

from anywasm.core.errors import ArgumentError, TableBoundsError, UnsupportedError
from anywasm.core.tables import Table
from anywasm.core.types import REFERENCES, TableType
from anywasm.engines.wasmtime.calls import Calls
from anywasm.engines.wasmtime.library import (
    error_delete,
    ffi,
    table_get,
    table_grow,
    table_set,
    table_size,
)
from anywasm.engines.wasmtime.references import unroot

_Result = TypeVar("_Result")
#: Indices and counts that C has a number for.
_INDEX_LIMIT = 1 << 64


class WasmtimeTable(Table):
    """Reached through the store's gate, as its functions are.

    Attributes:
        calls: What the store's calls share.
        native: Its `wasmtime_table_t`.
    """

    def __init__(self, calls: Calls, type: TableType, native: Any) -> None:
        self.type = type
        self.calls = calls
        self.native = native
        self._where = (calls.context, ctypes.byref(native))

    @property
    def size(self) -> int:
        """The current number of elements."""
        return self._entered(lambda: int(table_size(*self._where)))

    def get(self, index: int) -> Any:
        """The element at `index`; see `anywasm.core.tables.Table`."""

        def get() -> Any:
            place = ffi.wasmtime_val_t()
            if not table_get(*self._where, self._index(index), ctypes.byref(place)):
                raise self._outside(index)
            try:
                return self.calls.references.lift(self.type.element, place)
            finally:
                unroot(place, 1)

        return self._entered(get)

    def set(self, index: int, value: Any = None) -> None:
        """Make `value` the element at `index`; see `anywasm.core.tables.Table`."""

        def put(place: Any) -> None:
            error = table_set(*self._where, self._index(index), place)
            if error:
                error_delete(ctypes.c_void_p(error))
                raise self._outside(index)

        self._entered(lambda: self._lowered(value, put))

    def grow(self, count: int, value: Any = None) -> int:
        """Add `count` elements; see `anywasm.core.tables.Table`."""

        def grow(place: Any) -> int:
            before = ctypes.c_uint64()
            error = table_grow(*self._where, self._index(count), place, ctypes.byref(before))
            if error:
                error_delete(ctypes.c_void_p(error))
                raise TableBoundsError(f"a {self.type} cannot grow by {count} elements")
            return before.value

        return self._entered(lambda: self._lowered(value, grow))

    def _entered(self, act: Callable[[], _Result]) -> _Result:
        gate = self.calls.gate
        if not gate.acquire(False):
            gate.refuse()
        try:
            gate.check_usable()
            return act()
        finally:
            gate.release()

    def _lowered(self, value: Any, act: Callable[[Any], _Result]) -> _Result:
        self._check_element()
        place = ffi.wasmtime_val_t()
        self.calls.references.lower(self.type.element, value, place)
        try:
            return act(ctypes.byref(place))
        finally:
            unroot(place, 1)

    def _check_element(self) -> None:
        if self.type.element not in REFERENCES:
            raise UnsupportedError(f"values of type {self.type.element} cannot be passed")

    def _index(self, index: object) -> ctypes.c_uint64:
        if not isinstance(index, int) or isinstance(index, bool):
            raise ArgumentError(f"tables are indexed by ints, not {index!r}")
        if not 0 <= index < _INDEX_LIMIT:
            raise self._outside(index)
        return ctypes.c_uint64(index)

    def _outside(self, index: int) -> TableBoundsError:
        size = table_size(*self._where)
        return TableBoundsError(f"element {index} is outside a table of {size} elements")
