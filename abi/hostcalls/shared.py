"""Shared data and shared queues."""

from __future__ import annotations

from anywasm.abi.context import Context, RootContext
from anywasm.abi.enums import Status
from anywasm.abi.table import host_function


@host_function("proxy_get_shared_data", "data -> data u32", shared=True)
def get_shared_data(context: Context, key: bytes) -> tuple[bytes, int] | Status:
    """A value that guests of this `vm_id` share, and the number to replace it with."""
    found = context.guest.services.shared_data.get(context.plugin.vm_id, key, context.guest.expires)
    return Status.NOT_FOUND if found is None else found


@host_function("proxy_set_shared_data", "data data u32", shared=True)
def set_shared_data(context: Context, key: bytes, value: bytes, cas: int) -> Status:
    """Write such a value, if `cas` is 0 or nobody else has written it."""
    return context.guest.services.shared_data.set(
        context.plugin.vm_id, key, value, cas, context.guest.expires
    )


@host_function("proxy_register_shared_queue", "data -> u32", shared=True)
def register_shared_queue(context: Context, name: bytes) -> int | Status:
    """Make a queue, or take it over; this plugin is told about new items from now on."""
    root = context.root
    if not isinstance(root, RootContext):
        return Status.INTERNAL_FAILURE
    queues = context.guest.services.shared_queues
    return queues.register(context.plugin.vm_id, name, root.queue_ready, context.guest.expires)


@host_function("proxy_resolve_shared_queue", "data data -> u32", shared=True)
def resolve_shared_queue(context: Context, vm_id: bytes, name: bytes) -> int | Status:
    """The token of a queue of any `vm_id`; an empty one means the guest's own."""
    owner = vm_id.decode(errors="surrogateescape") or context.plugin.vm_id
    token = context.guest.services.shared_queues.resolve(owner, name, context.guest.expires)
    return Status.NOT_FOUND if token is None else token


@host_function("proxy_enqueue_shared_queue", "u32 data", shared=True)
def enqueue_shared_queue(context: Context, token: int, item: bytes) -> Status:
    """Append an item; the queue's owner is told later."""
    return context.guest.services.shared_queues.enqueue(token, item, context.guest.expires)


@host_function("proxy_dequeue_shared_queue", "u32 -> data", shared=True)
def dequeue_shared_queue(context: Context, token: int) -> bytes | Status:
    """Take the oldest item."""
    return context.guest.services.shared_queues.dequeue(token, context.guest.expires)
