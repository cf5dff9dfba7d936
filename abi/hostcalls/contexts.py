"""Contexts."""

from __future__ import annotations

from anywasm.abi.context import Context
from anywasm.abi.enums import Status
from anywasm.abi.table import host_function


@host_function("proxy_set_effective_context", "u32")
def set_effective_context(context: Context, id: int) -> Status | None:
    """Have the later host calls of this guest call act on another context."""
    chosen = context.guest.context(id)
    if chosen is None:
        return Status.BAD_ARGUMENT
    context.guest.effective = chosen
    return None


@host_function("proxy_done")
def done(context: Context) -> Status | None:
    """Let go of a context that `proxy_on_done` has kept; NOT_FOUND where it kept none."""
    return context.guest.contexts.done(context)
