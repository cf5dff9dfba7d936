"""anywasm: one Python interface over every WebAssembly engine, and a proxy-wasm host on top of it."""

__version__ = "0.1.0"
