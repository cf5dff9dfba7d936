"""Heads in C where there was a compiler at installation, else in Python: the same either way.

`ANYWASM_FASTCALL=0` leaves the C out.
"""

from __future__ import annotations

import os

try:
    if os.environ.get("ANYWASM_FASTCALL") == "0":
        raise ImportError("ANYWASM_FASTCALL is 0")
    from anywasm.server.upstream._head import encode_request_head, parse_plain
except ImportError:
    from anywasm.server.upstream.head import encode_request_head
    from anywasm.server.upstream.plain import parse_plain

__all__ = ["encode_request_head", "parse_plain"]
