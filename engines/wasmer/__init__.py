"""The wasmer engine, over wasmer-python and its Cranelift compiler."""

from anywasm.engines.wasmer.vm import WasmerVM

__all__ = ["WasmerVM"]
