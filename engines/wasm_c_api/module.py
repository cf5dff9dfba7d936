"""A compiled module."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.binary import ModuleInterface, function_names
from anywasm.core.errors import ClosedError, CompileError
from anywasm.core.limits import ResourceLimits
from anywasm.core.metering import MeteredGate, MeteringPlan
from anywasm.core.module import Module
from anywasm.core.store import Store
from anywasm.engines.fastcall import gate_lock
from anywasm.engines.wasm_c_api.calls import Calls
from anywasm.engines.wasm_c_api.instance import WasmCApiInstance
from anywasm.engines.wasm_c_api.library import Natives, Vec
from anywasm.engines.wasm_c_api.store import WasmCApiStore

if TYPE_CHECKING:
    from anywasm.engines.wasm_c_api.vm import WasmCApiVM


class WasmCApiModule(Module):
    """Native code in a store of its own, from which it is shared with those of its instances.

    Attributes:
        library: The library that compiled it.
        interface: The original's.
        plan: How the code is metered.
        native_types: For each import of the metered module, its `wasm_functype_t *`, or 0 where it
            is no function.
        has_code: Whether it has functions of its own.
    """

    def __init__(
        self, vm: WasmCApiVM, interface: ModuleInterface, sections: bytes, natives: Natives, at: int
    ) -> None:
        """Take over a native module.

        Args:
            vm: The engine.
            interface: What was read from `sections`.
            sections: The original binary, or its interface sections.
            natives: What owns the module.
            at: The `wasm_module_t *` of the metered binary.
        """
        super().__init__(vm, interface)
        library = self.library = vm.library
        self.interface = interface
        self.plan = MeteringPlan.of(interface)
        self.has_code = interface.functions > self.plan.taken
        self._engine = vm.engine
        self._sections = sections
        self._natives: Natives | None = natives
        self._at = at
        self._names: dict[int, str] | None = None
        types = Vec()
        library.wasm_module_imports(at, ctypes.byref(types))
        natives.own(types, lambda vec: library.wasm_importtype_vec_delete(ctypes.byref(vec)))
        # The module's own: `wasm.h` can make no function type with a vector in it.
        self.native_types = [
            library.wasm_externtype_as_functype_const(library.wasm_importtype_type(item))
            for item in types.pointers()
        ]
        if library.shares:
            shared = library.wasm_module_share(at)
            self._shared = natives.own(shared, library.wasm_shared_module_delete)

    def _native(self) -> Natives:
        """What owns the native module; it lives while this is held, also when closed meanwhile."""
        natives = self._natives
        if natives is None:
            raise ClosedError(f"{self!r} is closed")
        return natives

    def open_store(self) -> Calls:
        """A new store, for one instance."""
        bound = self.vm.capabilities.thread_bound
        gate = MeteredGate("the instance", thread_bound=bound, lock=gate_lock())
        return Calls(self.library, self._engine, gate)

    def obtain(self, calls: Calls) -> int:
        """The `wasm_module_t *` for that store."""
        if not self.library.shares:
            return self._at
        module = self.library.wasm_module_obtain(calls.store, self._shared)
        return calls.natives.own(module, self.library.wasm_module_delete)  # type: ignore[no-any-return]

    def reason(self) -> str:
        """What the library says about the last failure."""
        return self.library.last_error(self._engine.at, b"")

    def frame(self, index: int) -> str:
        """The entry of a backtrace for a function of the metered code."""
        index = self.plan.original(index)
        if self._names is None:
            self._names = function_names(self.custom_sections)
        return self._names.get(index, f"func[{index}]")

    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> WasmCApiInstance:
        natives = self._native()
        instance = WasmCApiInstance(self, imports, limits, None)
        del natives
        return instance

    def _instantiate_in(
        self, store: Store, imports: list[Any], limits: ResourceLimits | None
    ) -> WasmCApiInstance:
        natives = self._native()
        instance = WasmCApiInstance(self, imports, limits, cast(WasmCApiStore, store))
        del natives
        return instance

    def _serialize(self) -> tuple[bytes, bytes]:
        natives, code = self._native(), Vec()
        self.library.wasm_module_serialize(self._at, ctypes.byref(code))
        del natives
        if not code.size:
            raise CompileError(f"the module cannot be serialized: {self.reason()}")
        return self._sections, self.library.take_bytes(code)

    def _close(self) -> None:
        # Freed when no thread instantiates it any more.
        self._natives = None
