"""The engine."""

from __future__ import annotations

import ctypes
import sys

from anywasm.core.binary import ModuleInterface, read_interface, strip_to_interface
from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.errors import ClosedError
from anywasm.core.gate import CallGate
from anywasm.core.limits import ResourceLimits
from anywasm.core.types import NUMERIC, ExternKind
from anywasm.core.vm import VM
from anywasm.engines.fastcall import gate_lock
from anywasm.engines.stack import FIBER_STACK, GUEST_STACK
from anywasm.engines.wasmtime.calls import Calls, Epochs
from anywasm.engines.wasmtime.errors import map_exceptions
from anywasm.engines.wasmtime.library import VERSION, config_async_stack_size_set, wasmtime
from anywasm.engines.wasmtime.module import WasmtimeModule
from anywasm.engines.wasmtime.references import OTHERS
from anywasm.engines.wasmtime.store import WasmtimeStore

_FEATURES = frozenset(Feature) - {Feature.THREADS}


def _config() -> wasmtime.Config:
    config = wasmtime.Config()
    config.strategy = "cranelift"
    config.parallel_compilation = True
    # A module compiled with no options can be stopped.
    config.epoch_interruption = True
    # Addresses of guest memory are kept from call to call.
    config.memory_may_move = False
    config.max_wasm_stack = GUEST_STACK
    config_async_stack_size_set(config.ptr(), ctypes.c_size_t(FIBER_STACK))
    for name in (
        "tail_call",
        "multi_memory",
        "memory64",
        "relaxed_simd",
        "function_references",
        "gc",
        "exceptions",
        "wide_arithmetic",
    ):
        setattr(config, f"wasm_{name}", True)
    # Shared memories change under the host's hands, and stack switching aborts the process.
    config.wasm_threads = False
    config.wasm_stack_switching = False
    return config


class WasmtimeVM(VM):
    """Wasmtime with the Cranelift compiler: fastest code, deadlines, limits, artifacts.

    Guests run on the calling thread's stack, which must have 1.5 MiB (Linux gives threads 8 MiB);
    a call on a smaller one is refused with a `ConcurrencyError`. Accesses outside guest memory are
    caught by a handler for SIGSEGV, so whatever installs one that does not hand on must come before
    this class is first instantiated; `get_wasm_engine` sees to it for faulthandler.
    """

    name = "wasmtime"
    engine_api_version = 1

    def __init__(self) -> None:
        self.version = VERSION
        self.capabilities = Capabilities(
            serialize=True,
            interrupt=True,
            memory_limit=True,
            parallel=True,
            # Later releases of Python look at how much of the thread's stack is left.
            suspend=sys.version_info < (3, 14),
            backtrace=True,
            imports=frozenset(ExternKind) - {ExternKind.TAG},
            values=NUMERIC | OTHERS,
            features=_FEATURES,
        )
        self._epochs: Epochs | None = Epochs(wasmtime.Engine(_config()))

    @property
    def artifact_version(self) -> str:
        """The version, and what shapes the code; wasmtime checks each option and the CPU itself."""
        return f"{self.version} cranelift epochs"

    def _open(self) -> Epochs:
        epochs = self._epochs
        if epochs is None:
            raise ClosedError(f"engine {self.name!r} is closed")
        return epochs

    def _compile(self, wasm: bytes, interface: ModuleInterface) -> WasmtimeModule:
        epochs = self._open()
        with map_exceptions():
            native = wasmtime.Module(epochs.engine, wasm)
        return WasmtimeModule(self, epochs, interface, strip_to_interface(wasm), native)

    def _load(self, code: bytes, interface: bytes) -> WasmtimeModule:
        epochs = self._open()
        with map_exceptions():
            native = wasmtime.Module.deserialize(epochs.engine, code)
        return WasmtimeModule(self, epochs, read_interface(interface), interface, native)

    def _load_file(self, path: str, size: int, interface: bytes) -> WasmtimeModule:
        # The library maps the file, and minds nothing that follows the code.
        epochs = self._open()
        with map_exceptions():
            native = wasmtime.Module.deserialize_file(epochs.engine, path)
        return WasmtimeModule(self, epochs, read_interface(interface), interface, native)

    def _new_store(self, limits: ResourceLimits | None) -> WasmtimeStore:
        gate = CallGate("this wasmtime store", lock=gate_lock())
        calls = Calls(self._open(), gate, 0)
        calls.limit(limits or ResourceLimits())
        return WasmtimeStore(self, calls)

    def _close(self) -> None:
        # The engine goes with its last module and instance.
        self._epochs = None
