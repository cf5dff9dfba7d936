"""The engine whose guests are Python classes: a test double, and the baseline without wasm."""

from anywasm.engines.null.vm import NullVM

__all__ = ["NullVM"]
