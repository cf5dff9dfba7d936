"""Buffers: bodies, configurations, call data."""

from __future__ import annotations

from anywasm.abi.buffer import Buffer
from anywasm.abi.context import Context
from anywasm.abi.enums import BufferType, Status
from anywasm.abi.table import host_function

#: Buffers that read as empty where there is none (recorded in the golden case `edge-misc`); the
#: others are NOT_FOUND then.
_EMPTY = frozenset(
    {BufferType.HTTP_REQUEST_BODY, BufferType.HTTP_RESPONSE_BODY, BufferType.VM_CONFIGURATION}
)
#: Buffers that belong to the plugin.
OF_ROOT = frozenset(
    {
        BufferType.HTTP_CALL_RESPONSE_BODY,
        BufferType.GRPC_CALL_MESSAGE,
        BufferType.REDIS_CALL_RESPONSE,
    }
)
_NOTHING = Buffer(writable=False)


def _find(context: Context, kind: int) -> Buffer | Status:
    if kind >= len(context.buffers):
        return Status.BAD_ARGUMENT
    # What calls to the outside bring belongs to the plugin, whichever context asks for it.
    owner = context.root if kind in OF_ROOT else context
    buffer = owner.buffers[kind]
    if buffer is not None:
        return buffer
    return _NOTHING if kind in _EMPTY else Status.NOT_FOUND


@host_function("proxy_get_buffer_bytes", "u32 u32 u32 -> data")
def get_buffer_bytes(context: Context, kind: int, start: int, size: int) -> bytes | Status:
    """Part of a buffer; less than asked for, or nothing, past its end."""
    buffer = _find(context, kind)
    # Envoy counts in 64 bits, so that a start and a size of 32 bits never overflow.
    return buffer if isinstance(buffer, Status) else buffer.get(start, size)


@host_function("proxy_get_buffer_status", "u32 -> u32 u32")
def get_buffer_status(context: Context, kind: int) -> tuple[int, int] | Status:
    """A buffer's size, and flags that are always 0, as in proxy-wasm-cpp-host."""
    buffer = _find(context, kind)
    return buffer if isinstance(buffer, Status) else (len(buffer.data), 0)


@host_function("proxy_set_buffer_bytes", "u32 u32 u32 data")
def set_buffer_bytes(context: Context, kind: int, start: int, size: int, value: bytes) -> Status:
    """Prepend to, replace or append to a buffer."""
    buffer = _find(context, kind)
    if isinstance(buffer, Status):
        return buffer
    return buffer.set(start, size, value, context.guest.services.limits.buffer_bytes)
