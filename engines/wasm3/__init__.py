"""The wasm3 interpreter, driven through the C functions of pywasm3's shared object."""

from anywasm.engines.wasm3.vm import Wasm3VM

__all__ = ["Wasm3VM"]
