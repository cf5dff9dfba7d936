"""Any engine whose shared library implements the standard WebAssembly C API, `wasm.h`."""

from anywasm.engines.wasm_c_api.vm import WasmCApiVM

__all__ = ["WasmCApiVM"]
