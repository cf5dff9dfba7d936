"""The host functions, by subject. Importing this package fills the table."""

from anywasm.abi.hostcalls import buffers, clock, contexts, layotto, logging, maps, streams

__all__ = ["buffers", "clock", "contexts", "layotto", "logging", "maps", "streams"]
