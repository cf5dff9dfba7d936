"""Properties, and the configuration of ABI 0.1.0."""

from __future__ import annotations

from anywasm.abi import properties
from anywasm.abi.context import Context
from anywasm.abi.enums import BufferType
from anywasm.abi.table import host_function

# Filters ask for some in every stream: there is no function between.
host_function("proxy_get_property", "data -> data")(properties.get_property)
host_function("proxy_set_property", "data data")(properties.set_property)


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
