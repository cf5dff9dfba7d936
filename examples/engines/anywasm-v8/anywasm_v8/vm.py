"""The `v8` engine."""

from __future__ import annotations

import STPyV8

from anywasm import CompileError
from anywasm.core.engine import (
    VM,
    Capabilities,
    Feature,
    MeteringPlan,
    Module,
    ModuleInterface,
    meter,
)
from anywasm_v8.module import V8Module
from anywasm_v8.realm import realm


class V8VM(VM):
    """Runs WebAssembly in V8, through its JavaScript API.

    Where the processor has keys for memory, V8 may only be used by the thread that imported this,
    and by those that it made afterwards (a server imports its engines first of all).

    STPyV8 cannot stop guest code, which is therefore metered. JavaScript shows no memory to Python,
    so that every access is a copy, and does not serialize or share what it compiled.
    """

    name = "v8"
    engine_api_version = 1
    capabilities = Capabilities(
        interrupt=True,
        memory_limit=True,
        thread_bound=True,
        features=frozenset(
            {
                Feature.MUTABLE_GLOBALS,
                Feature.SIGN_EXTENSION,
                Feature.SATURATING_FLOAT_TO_INT,
                Feature.BULK_MEMORY,
                Feature.MULTI_VALUE,
                Feature.REFERENCE_TYPES,
                Feature.SIMD,
                Feature.RELAXED_SIMD,
                Feature.EXTENDED_CONST,
                Feature.MULTI_MEMORY,
            }
        ),
    )

    def __init__(self) -> None:
        self.version = str(STPyV8.JSEngine.version)

    def _compile(self, wasm: bytes, interface: ModuleInterface) -> Module:
        here = realm()
        plan = MeteringPlan.of(interface)
        metered = wasm
        if here.js.validate(wasm.decode("latin-1")):
            metered = meter(wasm, interface, plan)
        module = V8Module(self, interface, plan, metered)
        if not here.module(module.number, metered):
            # Of what is not valid, V8 speaks in terms of the original.
            raise CompileError(f"V8 refuses the module: {here.js.failure()}")
        return module
