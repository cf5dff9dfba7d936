"""The wasmer engine, over wasmer-python and its Cranelift compiler."""

from anywasm.engines.wasmer.vm import make_vm

__all__ = ["make_vm"]
