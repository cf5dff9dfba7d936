"""What guests are written with, and the built guests of the quickstart."""

from __future__ import annotations

from anywasm.sdk.guests import (
    GuestNotFoundError,
    guest_bytes,
    guest_names,
    guest_path,
    guest_source,
    header_path,
)

__all__ = [
    "GuestNotFoundError",
    "guest_bytes",
    "guest_names",
    "guest_path",
    "guest_source",
    "header_path",
]
