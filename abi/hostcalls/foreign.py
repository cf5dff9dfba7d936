"""Foreign functions."""

from __future__ import annotations

from anywasm.abi.context import Context
from anywasm.abi.enums import Status
from anywasm.abi.foreign import find_foreign_function
from anywasm.abi.table import host_function


@host_function("proxy_call_foreign_function", "data data -> data?")
def call_foreign_function(context: Context, name: bytes, arguments: bytes) -> bytes | Status:
    """Call a function by name; NOT_FOUND where nobody offers it."""
    function = find_foreign_function(name.decode(errors="replace"), context.plugin.profile)
    return Status.NOT_FOUND if function is None else function(context, arguments)
