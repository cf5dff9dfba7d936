"""An engine for anywasm: V8, by way of STPyV8."""

from anywasm_v8.vm import V8VM

__all__ = ["V8VM"]
