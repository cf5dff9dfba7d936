"""A compiled module, usable in every thread although wasmer-python's are not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.binary import ModuleInterface, function_names
from anywasm.core.errors import ArgumentError, ClosedError, InstantiationError, LinkError
from anywasm.core.globals import Global
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.metering import MeteredGate, MeteringPlan
from anywasm.core.module import Module
from anywasm.core.stack_lock import StackLock
from anywasm.core.store import Store
from anywasm.core.types import FuncType, GlobalType, ImportType, TableType, ValueType
from anywasm.engines.fastcall import gate_lock
from anywasm.engines.wasmer.calls import bind_host
from anywasm.engines.wasmer.errors import is_native, is_trap, plain_frame, trap
from anywasm.engines.wasmer.globals import WasmerGlobal
from anywasm.engines.wasmer.instance import WasmerInstance
from anywasm.engines.wasmer.library import Binding
from anywasm.engines.wasmer.memory import WasmerMemory
from anywasm.engines.wasmer.store import WasmerStore
from anywasm.engines.wasmer.tables import WasmerTable

if TYPE_CHECKING:
    from anywasm.engines.wasmer.vm import WasmerVM

_LINKED = (WasmerMemory, WasmerTable, WasmerGlobal)


class WasmerModule(Module):
    """Compiled code, from which each thread that instantiates makes a native module of its own.

    wasmer-python's modules and stores panic in any thread but their own.

    Attributes:
        plan: How the code is metered.
    """

    def __init__(
        self, vm: WasmerVM, interface: ModuleInterface, wasm: bytes, code: bytes, binding: Binding
    ) -> None:
        super().__init__(vm, interface)
        self.plan = MeteringPlan.of(interface)
        self._interface = interface
        self._wasm = wasm
        self._code = code
        self._binding = binding
        self._local = threading.local()
        #: What backtraces call the first function, which wasmer finds where it has no name.
        self._first_name: str | None = None

    def frame(self, name: str, index: int) -> str:
        """The entry of a backtrace for a function of the metered code."""
        if index == self.plan.moved:
            if self._first_name is None:
                first = self.plan.taken
                names = function_names(self.custom_sections)
                self._first_name = names.get(first, f"func[{first}]")
            return self._first_name
        return plain_frame(name, index)

    def adopt(self, store: Any, native: Any) -> None:
        """Use this native module in the calling thread."""
        self._local.made = store, native

    def _native(self) -> tuple[Any, Any]:
        """A native store of the calling thread's, and this module in it."""
        made: tuple[Any, Any] | None = getattr(self._local, "made", None)
        if made is None:
            store = self._binding.store()
            made = self._local.made = store, self._native_in(store)
        return made

    def _native_in(self, store: Any) -> Any:
        code = self._code
        if not code:
            raise ClosedError(f"{self!r} is closed")
        return self._binding.module.deserialize(store, code)

    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> Instance:
        native_store, native = self._native()
        gate = MeteredGate("the instance", thread_bound=True, lock=gate_lock() or StackLock())
        if limits is not None:
            gate.limit(limits)
        return self._start(WasmerStore(self.vm, native_store, gate), native, imports, limits)

    def _instantiate_in(
        self, store: Store, imports: list[Any], limits: ResourceLimits | None
    ) -> Instance:
        shared = cast(WasmerStore, store)
        if not shared.gate.acquire(False):
            shared.gate.refuse()
        dangling = False
        try:
            shared.gate.check_usable()
            native = self._native_in(shared.native)
            return self._start(shared, native, imports, limits, shared=True)
        except LinkError:
            raise
        except BaseException:
            dangling = self._may_leave_functions
            raise
        finally:
            shared.gate.release()
            if dangling:
                shared.close()

    def _start(
        self,
        store: WasmerStore,
        native: Any,
        imports: list[Any],
        limits: ResourceLimits | None,
        *,
        shared: bool = False,
    ) -> Instance:
        gate = store.gate
        gate.admit(self._interface)
        given: dict[str, dict[str, Any]] = {}
        for wanted, value in zip(self.imports, imports):
            of_module = given.setdefault(wanted.module, {})
            if wanted.name not in of_module:
                of_module[wanted.name] = self._extern(store, wanted, value)
        check = self.plan.check
        given.setdefault(check.module, {})[check.name] = self._binding.function(
            store.native, gate.checked, self._binding.func_type(cast(FuncType, check.type))
        )
        linked = self._binding.import_object()
        for name, functions in given.items():
            linked.register(name, functions)
        try:
            with gate.bound_start(None if limits is None else limits.start_seconds):
                instance = self._binding.instance(native, linked)
        except BaseException as error:
            if not is_native(error):
                raise
            text = str(error)
            if is_trap(text):
                cause = trap(text, self.frame)
                cause.__cause__ = error
                raise InstantiationError(f"the instance could not be started: {cause}") from cause
            if "import" in text:
                raise LinkError(text) from error
            raise InstantiationError(text) from error
        return WasmerInstance(self, store, self._binding, instance, shared=shared)

    @property
    def _may_leave_functions(self) -> bool:
        """Whether the module's functions can outlive an instance that did not start.

        wasmer frees that instance at once, and calling what it left in a table would run freed
        code: the store is closed before anyone can.
        """
        return any(
            isinstance(item.type, TableType)
            or (isinstance(item.type, GlobalType) and item.type.value is ValueType.FUNCREF)
            or (isinstance(item.type, FuncType) and ValueType.FUNCREF in item.type.params)
            for item in self.imports
        )

    def _extern(self, store: WasmerStore, wanted: ImportType, value: Any) -> Any:
        """What the binding takes for an import."""
        if isinstance(wanted.type, FuncType):
            known = store.function(value)
            if known is not None:
                return known
            name = f"{wanted.module}.{wanted.name}"
            return bind_host(self._binding, store.native, store.gate, name, wanted.type, value)
        if isinstance(wanted.type, GlobalType) and not isinstance(value, Global):
            try:
                value = store.new_global(wanted.type, value)
            except ArgumentError as error:
                raise LinkError(f"{wanted} was given {value!r}: {error}") from error
        if not isinstance(value, _LINKED) or value.gate is not store.gate:
            raise LinkError(f"{wanted} was given {value!r}, which is not of the instance's store")
        return value.native

    def _serialize(self) -> tuple[bytes, bytes]:
        return self._wasm, self._code

    def _close(self) -> None:
        self._code = b""
        self._local = threading.local()
