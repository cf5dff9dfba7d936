"""Layotto's extension: functions call each other, and read a state store.

Layotto answers a failed call with an empty success; here every failure is INTERNAL_FAILURE, and the
reason is logged for the plugin.
"""

from __future__ import annotations

import time

from anywasm.abi.context import Context
from anywasm.abi.enums import LogLevel, Status
from anywasm.abi.host import ServiceCall
from anywasm.abi.table import host_function
from anywasm.core.errors import AnyWasmError


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


@host_function("proxy_invoke_service", "data data data -> data", blocking=True)
def invoke_service(context: Context, id: bytes, method: bytes, param: bytes) -> bytes | Status:
    """Call the function `id` with `param` as its request body, and wait for its answer."""
    name, verb = _text(id), _text(method)
    if name is None or verb is None:
        return Status.BAD_ARGUMENT
    # Whichever context the guest acts on now, it is the entered one that waits.
    caller = context.guest.entered or context
    invoke = context.guest.services.invoke
    if invoke is None:
        context.log(LogLevel.ERROR, f"cannot invoke {name!r}: this host routes no functions")
        return Status.INTERNAL_FAILURE
    try:
        return invoke(ServiceCall(name, verb, param, caller.chain, context.guest.expires))
    except AnyWasmError as error:
        context.log(LogLevel.ERROR, f"cannot invoke {name!r}: {error}")
        return Status.INTERNAL_FAILURE


@host_function("proxy_get_state", "data data -> data", blocking=True)
def get_state(context: Context, store: bytes, key: bytes) -> bytes | Status:
    """The value of `key` in the named store; an empty one where there is none, as in Layotto."""
    name = _text(store)
    if name is None:
        return Status.BAD_ARGUMENT
    stores = context.guest.services.state_stores
    opened = stores.get(name)
    if opened is None:
        known = ", ".join(stores) or "none"
        context.log(LogLevel.ERROR, f"unknown state store {name!r}; configured stores: {known}")
        return Status.INTERNAL_FAILURE
    left = context.guest.expires - time.monotonic()
    if left <= 0:
        context.log(LogLevel.ERROR, f"cannot read state store {name!r}: no time is left")
        return Status.INTERNAL_FAILURE
    try:
        value = opened.get(key, left)
    except AnyWasmError as error:
        context.log(LogLevel.ERROR, f"cannot read state store {name!r}: {error}")
        return Status.INTERNAL_FAILURE
    return b"" if value is None else value
