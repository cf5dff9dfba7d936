"""The heads of messages, read and written: in C, where there was a compiler, or else in Python.

Both have the same results; what is not usual, and every error, is Python's. `ANYWASM_FASTCALL=0` in
the environment leaves C out.
"""

from __future__ import annotations

import os

try:
    if os.environ.get("ANYWASM_FASTCALL") == "0":
        raise ImportError("ANYWASM_FASTCALL is 0")
    from anywasm.server.http._head import (
        declared_length,
        encode_fields,
        encode_head,
        parse_plain,
        request_id,
        request_pairs,
        wire_fields,
    )
except ImportError:
    from anywasm.server.http.fields import encode_fields
    from anywasm.server.http.head import encode_head
    from anywasm.server.http.plain import parse_plain
    from anywasm.server.http.request_id import request_id
    from anywasm.server.http.request_map import request_pairs
    from anywasm.server.http.wire import declared_length, wire_fields

__all__ = [
    "declared_length",
    "encode_fields",
    "encode_head",
    "parse_plain",
    "request_id",
    "request_pairs",
    "wire_fields",
]
