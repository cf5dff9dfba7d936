"""Properties, and the configuration of ABI 0.1.0."""

from __future__ import annotations

from anywasm.abi import properties
from anywasm.abi.context import Context
from anywasm.abi.enums import BufferType, Status
from anywasm.abi.table import host_function


@host_function("proxy_get_property", "data -> data")
def get_property(context: Context, path: bytes) -> bytes | Status:
    """The value of a property."""
    return properties.get_property(context, path)


@host_function("proxy_set_property", "data data")
def set_property(context: Context, path: bytes, value: bytes) -> Status | None:
    """Keep a value for this stream."""
    return properties.set_property(context, path, value)


@host_function("proxy_get_configuration", "-> data", versions=("0.1.0",))
def get_configuration(context: Context) -> bytes:
    """The configuration that is being offered; nothing outside `proxy_on_configure`."""
    for kind in (BufferType.PLUGIN_CONFIGURATION, BufferType.VM_CONFIGURATION):
        buffer = context.buffers[kind]
        if buffer is not None:
            return buffer.data
    return b""


@host_function("proxy_clear_route_cache", versions=("0.1.0",))
def clear_route_cache(context: Context) -> None:
    """Nothing to do: a changed request is routed anew in any case."""
