"""The wasmtime engine, over the shared library that the package `wasmtime` brings."""

from anywasm.engines.wasmtime.vm import WasmtimeVM

__all__ = ["WasmtimeVM"]
