"""Foreign functions: host functions by name, outside the ABI's own list, open to third parties."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Protocol

from anywasm.abi.enums import Status, StreamType
from anywasm.abi.protobuf import protobuf_fields
from anywasm.core.hooks import manager, plugin_manager
from anywasm.core.hookspecs import hookspec

if TYPE_CHECKING:
    from anywasm.abi.context import Context

#: `(context, arguments) -> result`, or a status. Called in the guest's thread; must not wait.
ForeignFunction = Callable[["Context", bytes], "bytes | Status"]

#: What `uncompress` gives at most.
MAX_UNCOMPRESSED = 16 * 1024 * 1024


class RegisterForeignFunction(Protocol):
    """What `register_foreign_functions` receives."""

    def __call__(self, name: str, function: ForeignFunction, profile: str | None = None) -> None:
        """Offer a function; to plugins of one profile only, where `profile` is given."""


class ForeignFunctionSpecs:
    """Hooks about foreign functions."""

    @hookspec
    def register_foreign_functions(self, register: RegisterForeignFunction) -> None:
        """Call `register(name, function)` for each foreign function that the plugin brings."""


manager.add_hookspecs(ForeignFunctionSpecs)


def find_foreign_function(name: str, profile: str) -> ForeignFunction | None:
    """The function of that name for plugins of that profile: built in, or brought by a plugin."""
    functions = _functions()
    return functions.get((profile, name)) or functions.get((None, name))


@cache
def _functions() -> dict[tuple[str | None, str], ForeignFunction]:
    functions = dict(_BUILT_IN)

    def register(name: str, function: ForeignFunction, profile: str | None = None) -> None:
        functions.setdefault((profile, name), function)

    plugin_manager().hook.register_foreign_functions(register=register)
    return functions


def forget_foreign_functions() -> None:
    """Ask the plugins again; after one was registered or removed at run time."""
    _functions.cache_clear()


def built_in_foreign_functions() -> tuple[tuple[str | None, str], ...]:
    """The built-in ones, as profile (None for all) and name."""
    return tuple(_BUILT_IN)


# --- built in ------------------------------------------------------------------------------------


def _compress(context: Context, arguments: bytes) -> bytes:
    """zlib, as Envoy's."""
    return zlib.compress(arguments)


def _uncompress(context: Context, arguments: bytes) -> bytes | Status:
    """zlib, as Envoy's; BAD_ARGUMENT for anything else, or more than `MAX_UNCOMPRESSED`."""
    decoder = zlib.decompressobj()
    try:
        data = decoder.decompress(arguments, MAX_UNCOMPRESSED)
    except zlib.error:
        return Status.BAD_ARGUMENT
    return data if decoder.eof else Status.BAD_ARGUMENT


def _clear_route_cache(context: Context, arguments: bytes) -> bytes:
    """Nothing to do: a changed request is routed anew in any case."""
    return b""


def _hash(algorithm: str) -> ForeignFunction:
    return lambda context, arguments: hashlib.new(algorithm, arguments).digest()


def _vm_memory(context: Context, arguments: bytes) -> bytes:
    """Higress: the guest's memory, in bytes."""
    return context.guest.memory.size.to_bytes(8, "little")


def _log_level(context: Context, arguments: bytes) -> bytes:
    """Higress: the least severe level that is kept."""
    return int(context.guest.services.log_level).to_bytes(4, "little")


def _accept(context: Context, arguments: bytes) -> bytes:
    """Higress: a hint that this host takes but does not need."""
    return b""


def _inject(stream_type: StreamType) -> ForeignFunction:
    """Higress: put a piece of body behind what the filter has passed on."""

    def inject(context: Context, arguments: bytes) -> bytes | Status:
        from anywasm.abi.context import StreamContext

        try:
            fields = dict(protobuf_fields(arguments))
        except ValueError:
            return Status.BAD_ARGUMENT
        body = fields.get(1, b"")
        if not isinstance(context, StreamContext) or not isinstance(body, bytes):
            return Status.BAD_ARGUMENT
        return context.inject(stream_type, body, bool(fields.get(2, 0))) or b""

    return inject


def _upstream_hosts(context: Context, arguments: bytes) -> bytes | Status:
    """Higress: the hosts of the stream's cluster, as pairs of address and metrics."""
    from anywasm.abi.context import StreamContext

    if not isinstance(context, StreamContext) or context.upstream_hosts is None:
        return Status.NOT_FOUND
    return context.upstream_hosts()


def _override_host(context: Context, arguments: bytes) -> bytes | Status:
    """Higress: send the request to this host of the cluster."""
    from anywasm.abi.context import StreamContext

    if not isinstance(context, StreamContext):
        return Status.BAD_ARGUMENT
    context.override_host = arguments.decode("latin-1")
    return b""


_BUILT_IN: dict[tuple[str | None, str], ForeignFunction] = {
    (None, "compress"): _compress,
    (None, "uncompress"): _uncompress,
    (None, "clear_route_cache"): _clear_route_cache,
    (None, "sha256"): _hash("sha256"),
    (None, "sha512"): _hash("sha512"),
    ("higress", "get_vm_memory"): _vm_memory,
    ("higress", "get_log_level"): _log_level,
    ("higress", "set_global_max_requests_per_io_cycle"): _accept,
    ("higress", "inject_encoded_data_to_filter_chain"): _inject(StreamType.HTTP_RESPONSE),
    ("higress", "inject_encoded_data_to_filter_chain_on_header"): _inject(StreamType.HTTP_RESPONSE),
    ("higress", "get_upstream_hosts"): _upstream_hosts,
    ("higress", "set_override_upstream_host"): _override_host,
}
