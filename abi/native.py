"""The C extension of this package, or None: without a compiler, or where it is to be left out."""

from __future__ import annotations

import os

try:
    if os.environ.get("ANYWASM_FASTCALL") == "0":
        raise ImportError("ANYWASM_FASTCALL is 0")
    from anywasm.abi import _hostcall as native
except ImportError:
    native = None  # type: ignore[assignment]

__all__ = ["native"]
