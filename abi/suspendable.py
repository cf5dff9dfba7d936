"""Calls of guests that may be suspended in them, as generators.

Each does what the method of `Guest` of the same name does. It yields what the guest waits for
(`anywasm.abi.waits.Wait`), is to be sent the `Answer`, and returns what the method returns. While
a call is suspended the guest is as busy as while it runs: its owner lets nobody else use it, and
jobs that are posted come after the call. A generator that is closed leaves the guest `failed`,
since its call was given up half way.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from anywasm.abi.context import Context, RootContext, StreamContext
from anywasm.abi.guest import Guest
from anywasm.core.errors import DeadlineExceededError

_monotonic = time.monotonic


def call(guest: Guest, context: Context, name: str, *args: int) -> Generator[Any, Any, Any]:
    """Call the callback `name`, without its `proxy_`, which the guest exports.

    Raises:
        TrapError, DeadlineExceededError: As `Guest.call`.
    """
    now = _monotonic()
    expires = now + guest.limits.call
    if expires > context.deadline:
        expires = context.deadline
    if expires <= now:
        raise DeadlineExceededError("no time is left for another call of the guest")
    effective, entered, outer_expires = guest.effective, guest.entered, guest.expires
    guest.effective = guest.entered = context
    guest.expires = expires
    try:
        outer_end = guest.instance.set_deadline(expires)
        try:
            return (yield from guest.callbacks.promising(name)(*args))
        finally:
            guest.instance.restore_deadline(outer_end)
    except BaseException as error:
        guest.broke(error, getattr(guest.callbacks, name))
        raise
    finally:
        guest.waits_for = guest.answer = None
        guest.effective = effective
        guest.entered = entered
        guest.expires = outer_expires
        if entered is None and (guest.woken or guest.deferred):
            guest.after_call()


def create_stream(
    guest: Guest, root: RootContext, deadline: float, chain: tuple[str, ...]
) -> Generator[Any, Any, StreamContext]:
    """As `Guest.create_stream`."""
    contexts = guest.contexts
    stream = StreamContext(guest, contexts.new_id(), root, deadline, chain)
    contexts.living[stream.id] = stream
    if guest.callbacks.on_context_create is not None:
        try:
            yield from call(guest, stream, "on_context_create", stream.id, root.id)
        except BaseException:
            del contexts.living[stream.id]  # nobody will end what the guest does not know
            raise
    return stream


def end(guest: Guest, stream: StreamContext) -> Generator[Any, Any, None]:
    """As `Guest.end`."""
    contexts, ending = guest.contexts, guest.contexts.ending
    if contexts.get(stream.id) is not stream or stream.id in ending:
        return
    contexts.allow_end(stream)
    ending[stream.id] = stream
    callbacks = guest.callbacks
    if callbacks.on_done is not None and guest.failed is None:
        try:
            done = yield from call(guest, stream, "on_done", stream.id)
        except BaseException:
            contexts.forget(stream)
            raise
        if not done or ending.get(stream.id) is not stream:
            return
    ending[stream.id] = None
    try:
        contexts.allow_end(stream)
        if callbacks.on_log is not None and guest.failed is None:
            yield from call(guest, stream, "on_log", stream.id)
        if callbacks.on_delete is not None and guest.failed is None:
            yield from call(guest, stream, "on_delete", stream.id)
    finally:
        contexts.forget(stream)
