"""Compiles modules in processes of their own, which may be bounded and killed.

Imports nothing but `anywasm.core`: a child has to start quickly.
"""

from anywasm.plugins.compiling.limits import CompileLimitError, CompileLimits
from anywasm.plugins.compiling.pool import CompilerPool

__all__ = ["CompileLimitError", "CompileLimits", "CompilerPool"]
