"""The `wasm3` engine."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from anywasm.core.binary import read_interface, strip_to_interface
from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.errors import CompileError, UnsupportedError
from anywasm.core.metering import REVISION, MeteringPlan, meter
from anywasm.core.types import ExternKind
from anywasm.core.vm import VM
from anywasm.engines.wasm3.calls import Stack
from anywasm.engines.wasm3.errors import Traps, map_exceptions
from anywasm.engines.wasm3.library import HOST_FUNCTION, Machine, Wasm3Library
from anywasm.engines.wasm3.module import SHALLOW, Guest, Wasm3Module, prepare, without_memory

if TYPE_CHECKING:
    from anywasm.core.binary import ModuleInterface
    from anywasm.core.module import Module

#: Set to 1, modules are run without validation where no validator is installed.
UNVALIDATED = "ANYWASM_WASM3_UNVALIDATED"

#: Native bytes that wasm3's compiler takes for a block in a block (300 to 400), with a margin.
_NATIVE_NESTING = 1024
#: Bytes of wasm3's stack without which a guest is not worth starting.
_SMALLEST_STACK = 16 * 1024


class Wasm3VM(VM):
    """Interprets modules with wasm3, which starts fast and needs little memory.

    wasm3 trusts what it is given, so modules are validated by wasmtime first. Even so, prefer
    another engine for modules of unknown origin: wasm3 0.5.0 has no bounds on what its compiler
    writes for functions that use nearly all of its 4000 slots.

    wasm3 cannot stop guest code, which is therefore metered (see `anywasm.core.metering`).

    Without wasmtime, `compile` raises `UnsupportedError`, unless the environment variable
    `ANYWASM_WASM3_UNVALIDATED` is 1: then an invalid module can crash the process.
    """

    name = "wasm3"
    engine_api_version = 1
    capabilities = Capabilities(
        serialize=True,
        interrupt=True,
        memory_limit=True,
        parallel=True,
        backtrace=True,
        memory_moves=True,
        imports=frozenset({ExternKind.FUNCTION}),
        features=frozenset(
            {
                Feature.MUTABLE_GLOBALS,
                Feature.SIGN_EXTENSION,
                Feature.SATURATING_FLOAT_TO_INT,
                Feature.MULTI_VALUE,
                # memory.copy and memory.fill; passive segments are refused.
                Feature.BULK_MEMORY,
            }
        ),
    )

    def __init__(self) -> None:
        self.library = Wasm3Library()
        self.version = self.library.version
        self.traps = Traps(self.library)
        self.stack = Stack(self.library)
        self._validate = _validator()

    def _compile(self, wasm: bytes, interface: ModuleInterface) -> Module:
        if self._validate is not None:
            self._validate(wasm)
        elif os.environ.get(UNVALIDATED) != "1":
            raise UnsupportedError(
                "wasm3 does not validate modules, so wasmtime's validator must do it first: "
                f"pip install 'anywasm[wasm3]'; or set {UNVALIDATED}=1 to run trusted modules"
            )
        sections = strip_to_interface(wasm)
        if any(wanted.kind is not ExternKind.FUNCTION for wanted in interface.imports):
            return Wasm3Module(self, interface, sections, None)
        plan = MeteringPlan.of(interface)
        guest = prepare(meter(wasm, interface, plan), self.stack)
        self._check(guest)
        if guest.unfit is None:
            self._probe(guest, plan.taken + 1)
        return Wasm3Module(self, interface, sections, guest)

    @property
    def artifact_version(self) -> str:
        """The version, how code is metered, and whether it was validated."""
        validated = "" if self._validate else ", not validated"
        return f"{self.version}, metered {REVISION}{validated}"

    def _load(self, code: bytes, interface: bytes) -> Module:
        # There is no compiled code: it was validated, metered and tried out, and is as it was.
        guest = Guest.unpack(code)
        if guest is not None:
            self._check(guest)
        return Wasm3Module(self, read_interface(interface), interface, guest)

    def _check(self, guest: Guest) -> None:
        """Refuse what wasm3 would need more stack for than threads have here."""
        if guest.nesting * _NATIVE_NESTING > self.stack.budget:
            raise CompileError(f"wasm3 cannot compile blocks nested {guest.nesting} deep")
        if self.stack.size(guest.ratio) < _SMALLEST_STACK:
            raise CompileError(
                "wasm3 would have too small a stack to run this module safely: its loops nest too "
                "deep, or threads have small stacks here (ulimit -s)"
            )

    def load_machine(self, guest: Guest, wasm: bytes) -> Machine:
        """A machine with `wasm`, the guest or a part of it, loaded, but not linked nor compiled.

        Raises:
            Wasm3Error: When wasm3 refuses it.
            ConcurrencyError: When this thread's stack is too small to compile it.
        """
        if guest.nesting > SHALLOW:
            self.stack.low()
        return Machine(self.library, wasm, self.stack.size(guest.ratio))

    def _probe(self, guest: Guest, imports: int) -> None:
        """Let wasm3 compile the guest once, so that what it lacks is known now."""
        with map_exceptions(CompileError, "wasm3 cannot run this module"):
            machine = self.load_machine(guest, without_memory(guest.wasm))
            try:
                for index in range(imports):
                    machine.link(index, _NOTHING)
                machine.compile()
            finally:
                machine.close()


#: Stands for every import while a module is compiled on trial; never called.
_NOTHING = HOST_FUNCTION(lambda runtime, context, sp, memory: 0)


def _validator() -> Callable[[bytes], None] | None:
    """Wasmtime's validator, cut down to the features that wasm3 has; None where there is none."""
    try:
        import wasmtime
        from wasmtime import _ffi
    except ImportError:
        return None
    config = wasmtime.Config()
    # Not in wasmtime-py, and on by default; wasmtime wants it off where reference types are off.
    _ffi.dll.wasmtime_config_wasm_component_model_async_set(config.ptr(), ctypes.c_bool(False))
    for feature in _LACKING:
        setattr(config, f"wasm_{feature}", False)
    engine = wasmtime.Engine(config)

    def validate(wasm: bytes) -> None:
        try:
            wasmtime.Module.validate(engine, wasm)
        except wasmtime.WasmtimeError as error:
            raise CompileError(f"invalid module: {error}") from error

    return validate


#: Features of wasmtime's configuration that wasm3 lacks, those that need another one first.
_LACKING = (
    "relaxed_simd",
    "simd",
    "gc",
    "function_references",
    "exceptions",
    "reference_types",
    "threads",
    "memory64",
    "multi_memory",
    "custom_page_sizes",
    "wide_arithmetic",
    "stack_switching",
    "component_model",
    "tail_call",
)
