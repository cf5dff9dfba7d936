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
from anywasm.abi.waits import StateRead
from anywasm.core.errors import AnyWasmError, StateStoreError


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
    guest = context.guest
    caller = guest.entered or context
    invoke = guest.services.invoke
    if invoke is None:
        context.log(LogLevel.ERROR, f"cannot invoke {name!r}: this host routes no functions")
        return Status.INTERNAL_FAILURE
    answer = guest.take_answer()
    try:
        if answer is not None:
            return answer.take()  # type: ignore[no-any-return]
        call = ServiceCall(name, verb, param, caller.chain, guest.expires)
        waiting = guest.wait_for(call)
        return invoke(call) if waiting is None else waiting
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
    answer = context.guest.take_answer()
    try:
        if answer is not None:
            value = answer.take()
        else:
            left = context.guest.expires - time.monotonic()
            if left <= 0:
                raise StateStoreError("no time is left")
            # One that never waits is quicker asked than waited for.
            if getattr(opened, "waits", True):
                waiting = context.guest.wait_for(StateRead(opened, key, left))
                if waiting is not None:
                    return waiting
            value = opened.get(key, left)
    except AnyWasmError as error:
        context.log(LogLevel.ERROR, f"cannot read state store {name!r}: {error}")
        return Status.INTERNAL_FAILURE
    return b"" if value is None else value
