"""Reads the sections of a WebAssembly binary that tell what is in it, the same for every engine."""

from anywasm.core.binary.interface import ModuleInterface, read_interface
from anywasm.core.binary.names import function_names
from anywasm.core.binary.producers import producers
from anywasm.core.binary.single import global_module, memory_module, table_module
from anywasm.core.binary.strip import strip_to_interface

__all__ = [
    "ModuleInterface",
    "function_names",
    "global_module",
    "memory_module",
    "producers",
    "read_interface",
    "strip_to_interface",
    "table_module",
]
