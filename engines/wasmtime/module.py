"""A compiled module."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.binary import ModuleInterface
from anywasm.core.errors import ClosedError
from anywasm.core.limits import ResourceLimits
from anywasm.core.module import Module
from anywasm.core.store import Store
from anywasm.core.types import FuncType
from anywasm.engines.wasmtime.calls import LAYOUT, Epochs
from anywasm.engines.wasmtime.errors import map_exceptions
from anywasm.engines.wasmtime.instance import WasmtimeInstance
from anywasm.engines.wasmtime.library import wasmtime

if TYPE_CHECKING:
    from anywasm.engines.wasmtime.store import WasmtimeStore
    from anywasm.engines.wasmtime.vm import WasmtimeVM


class WasmtimeModule(Module):
    """Native code, shared by its instances.

    Attributes:
        epochs: The engine.
        native_types: For each import, its `wasm_functype_t *`, or None when it is no function.
        host_slots: Bytes that the values of any imported function take at most.
    """

    def __init__(
        self,
        vm: WasmtimeVM,
        epochs: Epochs,
        interface: ModuleInterface,
        sections: bytes,
        native: wasmtime.Module,
    ) -> None:
        """Wrap a module of the binding.

        Args:
            vm: The engine, as callers see it.
            epochs: The engine.
            interface: What was read from `sections`.
            sections: The binary, or its interface sections.
            native: The module.
        """
        super().__init__(vm, interface)
        self.epochs = epochs
        self._sections = sections
        self._native: wasmtime.Module | None = native
        functions = [item.type for item in self.imports if isinstance(item.type, FuncType)]
        self.host_slots = max(map(LAYOUT.size, functions), default=0)
        # The module's own types: the C API can make no function type with a vector in it.
        self._types = [
            imported.type if isinstance(item.type, FuncType) else None
            for item, imported in zip(self.imports, native.imports)
        ]
        self.native_types: list[Any] = [
            native_type and ctypes.cast(native_type.ptr(), ctypes.c_void_p)
            for native_type in self._types
        ]

    def native(self) -> wasmtime.Module:
        """The binding's module; it lives while it is held, also when this one is closed meanwhile.

        Raises:
            ClosedError: After `close`.
        """
        native = self._native
        if native is None:
            raise ClosedError(f"{self!r} is closed")
        return native

    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> WasmtimeInstance:
        return WasmtimeInstance(self, imports, limits, None)

    def _instantiate_in(
        self, store: Store, imports: list[Any], limits: ResourceLimits | None
    ) -> WasmtimeInstance:
        return WasmtimeInstance(self, imports, limits, cast("WasmtimeStore", store))

    def _serialize(self) -> tuple[bytes, bytes]:
        with map_exceptions():
            return self._sections, bytes(self.native().serialize())

    def _close(self) -> None:
        # Freed when no thread instantiates it any more.
        self._native = None
