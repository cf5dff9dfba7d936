"""The `wasm_c_api` engine."""

from __future__ import annotations

import ctypes
import os
from functools import partial
from typing import TYPE_CHECKING

from anywasm.core.binary import read_interface, strip_to_interface
from anywasm.core.binary.sections import SectionId, sections
from anywasm.core.binary.types import read_memory_type
from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.errors import (
    AnyWasmError,
    ClosedError,
    CompileError,
    EngineUnavailableError,
    InstantiationError,
    TrapError,
    TrapKind,
)
from anywasm.core.metering import REVISION, MeteredGate, MeteringPlan, meter
from anywasm.core.types import ExternKind
from anywasm.core.vm import VM
from anywasm.engines.fastcall import gate_lock
from anywasm.engines.wasm_c_api.calls import Calls
from anywasm.engines.wasm_c_api.errors import map_exceptions
from anywasm.engines.wasm_c_api.library import Engine, Natives, Vec, WasmLibrary
from anywasm.engines.wasm_c_api.module import WasmCApiModule
from anywasm.engines.wasm_c_api.store import WasmCApiStore

if TYPE_CHECKING:
    from anywasm.core.binary import ModuleInterface
    from anywasm.core.limits import ResourceLimits
    from anywasm.core.module import Module

#: For each feature that can be metered the sections of a module that needs it, after the header.
#: Libraries differ and do not tell: each is asked.
_PROBES = {
    Feature.MUTABLE_GLOBALS: "060601 7f01 4100 0b 0705 01 0167 0300",
    Feature.SIGN_EXTENSION: "010401600000 03020100 0a08010600 4100 c01a0b",
    Feature.SATURATING_FLOAT_TO_INT: "010401600000 03020100 0a0c010a00 4300000000 fc001a0b",
    Feature.BULK_MEMORY: "010401600000 03020100 0503010001 0a0d010b00 4100 4100 4100 fc0b00 0b",
    Feature.MULTI_VALUE: "01060160 00 027f7f 03020100 0a08010600 4100 4100 0b",
    Feature.REFERENCE_TYPES: "0404016f0001",
    Feature.SIMD: "010401600000 03020100 0a09010700 4100 fd0f 1a0b",
    Feature.RELAXED_SIMD: "010401600000 03020100 0a10010e00 4100 fd0f 4100 fd0f fd8002 1a0b",
    Feature.EXTENDED_CONST: "060901 7f00 4100 4100 6a 0b",
}
_HEADER = b"\0asm\x01\0\0\0"
#: A module whose start function traps.
_TRAPPING = _HEADER + bytes.fromhex("010401600000 03020100 080100 0a05010300000b")


class WasmCApiVM(VM):
    """Any engine whose shared library implements `wasm.h`: name it by `ANYWASM_WASM_C_API`.

    `wasm.h` has no way to stop guest code nor to limit an instance's memory, so modules are metered
    (see `anywasm.core.metering`).

    Guests run on the calling thread's stack, which must have 1.5 MiB.

    Attributes:
        library: The library.
        engine: Its engine.
        variable: The environment variable that names the library.
    """

    name = "wasm_c_api"
    engine_api_version = 1
    variable = "ANYWASM_WASM_C_API"

    def __init__(self, path: str | None = None) -> None:
        """Load a library.

        Args:
            path: Where it is; by default what the environment variable says.

        Raises:
            EngineUnavailableError: When there is none, it does not implement `wasm.h`, or a module
                of one instruction fails in it.
        """
        self.library = self._find(path)
        self.version = self.library.version
        self.capabilities = Capabilities()
        try:
            self.engine = Engine(self.library)
            self.capabilities = self._probe()
        except (ImportError, AnyWasmError) as error:
            raise EngineUnavailableError(
                self.name,
                f"{self.variable}={self.library.path} is not fit for use: {error}",
                f"set {self.variable} to another library, or unset it",
            ) from error

    def _find(self, path: str | None) -> WasmLibrary:
        """Load the library."""
        path = path or os.environ.get(self.variable)
        if not path:
            raise EngineUnavailableError(
                self.name,
                f"the environment variable {self.variable} is not set",
                f"set {self.variable} to the path of a shared library that implements wasm.h, such "
                "as the one in the Python package wasmtime; see docs/engines.md",
            )
        try:
            return WasmLibrary(path)
        except ImportError as error:
            raise EngineUnavailableError(
                self.name,
                f"{self.variable}={path}: {error}",
                f"set {self.variable} to a shared library that implements wasm.h, or unset it",
            ) from error

    def _probe(self) -> Capabilities:
        """What the library can do.

        Raises:
            ImportError: When it cannot run a module of one instruction.
        """
        features = frozenset(feature for feature, code in _PROBES.items() if self._takes(code))
        with self.compile(_TRAPPING) as module:
            try:
                module.instantiate()
            except InstantiationError as error:
                trap = error.__cause__
            else:
                trap = None
            if not isinstance(trap, TrapError) or trap.kind is not TrapKind.UNREACHABLE:
                raise ImportError(f"{self.library.path}: a trap is not reported as one ({trap!r})")
            return Capabilities(
                serialize=self._can_serialize(module),
                interrupt=True,
                memory_limit=True,
                parallel=True,
                thread_bound=self.library.dialect.thread_bound,
                backtrace=bool(trap.backtrace),
                memory_moves=self.library.dialect.memory_moves,
                imports=frozenset(ExternKind) - {ExternKind.TAG},
                features=features,
            )

    def _takes(self, code: str) -> bool:
        natives = Natives(self.engine)
        try:
            return self._validate(natives, _HEADER + bytes.fromhex(code))[1]
        finally:
            natives.free()

    def _can_serialize(self, module: Module) -> bool:
        try:
            interface, code = module._serialize()
            self._load(code, interface).close()
        except CompileError:
            return False
        return True

    @property
    def artifact_version(self) -> str:
        """The version, the digest of the library, and that the code is metered."""
        return f"{self.version}, {self.library.digest}, metered {REVISION}"

    def _open(self) -> Engine:
        if self._closed:
            raise ClosedError(f"engine {self.name!r} is closed")
        return self.engine

    def _validate(self, natives: Natives, wasm: bytes) -> tuple[int, bool]:
        """A new store, and whether the binary is valid."""
        library = self.library
        store = natives.own(library.wasm_store_new(self.engine.at), library.wasm_store_delete)
        return store, library.wasm_module_validate(store, ctypes.byref(_bytes(wasm)))

    def _compile(self, wasm: bytes, interface: ModuleInterface) -> Module:
        library, natives = self.library, Natives(self._open())
        store, valid = self._validate(natives, wasm)
        if not valid:
            reason = library.last_error(self.engine.at, wasm)
            raise CompileError(f"{self.version} refuses the module: {reason}")
        _check_memories(wasm)
        metered = meter(wasm, interface, MeteringPlan.of(interface))
        at = library.wasm_module_new(store, ctypes.byref(_bytes(metered)))
        return self._module(interface, strip_to_interface(wasm), natives, at, metered)

    def _new_store(self, limits: ResourceLimits | None) -> WasmCApiStore:
        bound = self.capabilities.thread_bound
        gate = MeteredGate("the store", thread_bound=bound, lock=gate_lock(), shared=True)
        if limits is not None:
            gate.limit(limits)
        return WasmCApiStore(self, Calls(self.library, self._open(), gate))

    def _load(self, code: bytes, interface: bytes) -> Module:
        library, natives = self.library, Natives(self._open())
        store = natives.own(library.wasm_store_new(self.engine.at), library.wasm_store_delete)
        at = library.wasm_module_deserialize(store, ctypes.byref(_bytes(code)))
        return self._module(read_interface(interface), interface, natives, at, code)

    def _module(
        self, interface: ModuleInterface, sections: bytes, natives: Natives, at: int, code: bytes
    ) -> Module:
        """The module at that address, which the library made of `code`."""
        library, engine = self.library, self.engine.at
        reason = partial(library.last_error, engine, code)
        map_exceptions(at, CompileError, f"{self.version} refuses the module", reason)
        natives.own(at, library.wasm_module_delete)
        return WasmCApiModule(self, interface, sections, natives, at)


def _bytes(data: bytes) -> Vec:
    """A `wasm_byte_vec_t` of a copy of `data`."""
    return Vec.of((ctypes.c_char * len(data)).from_buffer_copy(data), 1)


def _check_memories(wasm: bytes) -> None:
    """Refuse memories whose instructions cannot be metered.

    Raises:
        CompileError: For shared ones, several, or any with 64-bit addresses.
    """
    for section in sections(wasm):
        if section.id is SectionId.MEMORY:
            count = section.body.u32()
            types = [read_memory_type(section.body) for _ in range(count)]
            if count > 1 or any(found.memory64 or found.shared for found in types):
                raise CompileError(
                    "code is metered on this engine, and that of modules with several, shared or "
                    "64-bit memories cannot be"
                )
