"""The `wasmer` engine: wasmer-python, or the library of a Wasmer installation."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from anywasm.core.binary import read_interface, strip_to_interface
from anywasm.core.binary.sections import SectionId, sections
from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.errors import CompileError
from anywasm.core.metering import REVISION, MeteredGate, MeteringPlan, meter
from anywasm.core.stack_lock import StackLock
from anywasm.core.types import NUMERIC, ExternKind
from anywasm.core.vm import VM
from anywasm.engines.fastcall import gate_lock
from anywasm.engines.wasm_c_api import WasmCApiVM
from anywasm.engines.wasmer.calls import VECTORS
from anywasm.engines.wasmer.errors import compile_error, is_native
from anywasm.engines.wasmer.library import (
    LIBWASMER,
    Binding,
    artifact_version,
    load_library,
    version,
)
from anywasm.engines.wasmer.module import WasmerModule
from anywasm.engines.wasmer.store import WasmerStore

if TYPE_CHECKING:
    from anywasm.core.binary import ModuleInterface
    from anywasm.core.limits import ResourceLimits
    from anywasm.core.module import Module
    from anywasm.engines.wasm_c_api.library import WasmLibrary


def make_vm() -> VM:
    """The engine: from the library that `ANYWASM_LIBWASMER` names, else from wasmer-python.

    Raises:
        EngineUnavailableError: When that is missing or unfit.
    """
    path = os.environ.get(LIBWASMER)
    return LibWasmerVM(path) if path else WasmerVM()


class LibWasmerVM(WasmCApiVM):
    """Runs WebAssembly with the Wasmer that is installed, through the standard C API.

    No Wasmer that has this API could be had to test it with: see `docs/engines.md`.
    """

    name = "wasmer"
    variable = LIBWASMER

    def _find(self, path: str | None) -> WasmLibrary:
        return load_library(path or os.environ[LIBWASMER])


class WasmerVM(VM):
    """Runs WebAssembly with wasmer 2.1 and Cranelift, through wasmer-python 1.1.

    The binding holds the GIL around guest code and ties every object to the thread that made it.
    It frees an instance that does not start although its functions may be in a table of others;
    so a store in which that happened is closed.

    It can neither stop guest code nor limit its memory, which is therefore metered (see
    `anywasm.core.metering`).
    """

    name = "wasmer"
    engine_api_version = 1
    capabilities = Capabilities(
        serialize=True,
        interrupt=True,
        memory_limit=True,
        thread_bound=True,
        backtrace=True,
        imports=frozenset(ExternKind) - {ExternKind.TAG},
        values=NUMERIC | VECTORS,
        features=frozenset(
            {
                Feature.MUTABLE_GLOBALS,
                Feature.SIGN_EXTENSION,
                Feature.SATURATING_FLOAT_TO_INT,
                Feature.BULK_MEMORY,
                Feature.MULTI_VALUE,
                Feature.REFERENCE_TYPES,
                Feature.SIMD,
            }
        ),
    )

    def __init__(self) -> None:
        self._binding = Binding()
        self.version = version()

    @property
    def artifact_version(self) -> str:
        """The versions of the binding and of its compiler, and that the code is metered."""
        return f"{artifact_version()}, metered {REVISION}"

    def _compile(self, wasm: bytes, interface: ModuleInterface) -> Module:
        if any(section.id is SectionId.TAG for section in sections(wasm)):
            # Its translator panics on them, which prints to stderr.
            raise CompileError("wasmer has no exceptions: the module has a tag section")
        store = self._binding.store()
        try:
            metered = wasm
            if self._binding.module.validate(store, wasm):
                metered = meter(wasm, interface, MeteringPlan.of(interface))
            # What is not valid is refused here, in terms of the original.
            native = self._binding.module(store, metered)
            code = native.serialize()
        except BaseException as error:
            if not is_native(error):
                raise
            raise compile_error(error) from error
        module = WasmerModule(self, interface, strip_to_interface(wasm), code, self._binding)
        module.adopt(store, native)
        return module

    def _new_store(self, limits: ResourceLimits | None) -> WasmerStore:
        gate = MeteredGate(
            "the store", thread_bound=True, lock=gate_lock() or StackLock(), shared=True
        )
        if limits is not None:
            gate.limit(limits)
        return WasmerStore(self, self._binding.store(), gate)

    def _load(self, code: bytes, interface: bytes) -> Module:
        store = self._binding.store()
        try:
            native = self._binding.module.deserialize(store, code)
        except BaseException as error:
            if not is_native(error):
                raise
            raise compile_error(error) from error
        module = WasmerModule(self, read_interface(interface), interface, code, self._binding)
        module.adopt(store, native)
        return module
