"""Foreign functions: host functions by name, outside the ABI's own list, open to third parties."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

from anywasm.abi.enums import LogLevel, Status, StreamType
from anywasm.abi.protobuf import protobuf_fields
from anywasm.core.hooks import manager, plugin_manager
from anywasm.core.hookspecs import hookspec

if TYPE_CHECKING:
    from anywasm.abi.context import Context

#: `(context, arguments) -> result`, or a status. Called in the guest's thread; must not wait.
ForeignFunction = Callable[["Context", bytes], "bytes | Status"]

#: What `uncompress` gives at most.
MAX_UNCOMPRESSED = 16 * 1024 * 1024
#: Properties that one root context may declare.
MAX_DECLARED = 1024


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
    """zlib, as Envoy's; SERIALIZATION_FAILURE for anything else, or past `MAX_UNCOMPRESSED`."""
    decoder = zlib.decompressobj()
    try:
        data = decoder.decompress(arguments, MAX_UNCOMPRESSED)
    except zlib.error:
        return Status.SERIALIZATION_FAILURE
    return data if decoder.eof else Status.SERIALIZATION_FAILURE


def _clear_route_cache(context: Context, arguments: bytes) -> bytes:
    """Nothing to do: a changed request is routed anew in any case."""
    return b""


def _fields(arguments: bytes) -> dict[int, bytes | int] | None:
    """The fields of one of Envoy's own messages; None when it is malformed."""
    try:
        return dict(protobuf_fields(arguments))
    except ValueError:
        return None


def _crypto(name: str) -> ForeignFunction:
    """Envoy: signatures. BAD_ARGUMENT without a key, as there; with one, this host has no code."""

    def refuse(context: Context, arguments: bytes) -> Status:
        if not _fields(arguments):
            return Status.BAD_ARGUMENT
        context.log(LogLevel.WARN, f"foreign function {name}: this host does no cryptography")
        return Status.UNIMPLEMENTED

    return refuse


def _set_filter_state(context: Context, arguments: bytes) -> bytes | Status:
    """Envoy: one of its own objects, for the stream; guests read it back as `filter_state`."""
    from anywasm.abi.context import StreamContext
    from anywasm.abi.properties import MAX_STATE, MAX_STATE_BYTES

    fields = _fields(arguments)
    if fields is None:
        return Status.BAD_ARGUMENT
    path, value = fields.get(1, b""), fields.get(2, b"")
    if not isinstance(path, bytes) or not isinstance(value, bytes):
        return Status.BAD_ARGUMENT
    # Envoy has such objects under names of its own alone.
    if not isinstance(context, StreamContext) or not path.startswith(b"envoy."):
        return Status.NOT_FOUND
    state = context.info.filter_state
    held = sum(map(len, state.values())) - len(state.get(path, b""))
    if held + len(value) > MAX_STATE_BYTES or (len(state) >= MAX_STATE and path not in state):
        return Status.INTERNAL_FAILURE
    state[path] = value
    return b""


#: Of the properties that root contexts have declared: whether each is a string, or else bytes.
_declared: WeakKeyDictionary[Context, dict[bytes, bool]] = WeakKeyDictionary()


def _declare_property(context: Context, arguments: bytes) -> bytes | Status:
    """Envoy: the type of a property that guests set. BAD_ARGUMENT where it has one already."""
    fields = _fields(arguments)
    name = None if fields is None else fields.get(1, b"")
    if fields is None or not isinstance(name, bytes):
        return Status.BAD_ARGUMENT
    kind = fields.get(3, 0)
    if kind in (2, 3) or fields.get(2):
        context.log(
            LogLevel.WARN,
            "foreign function declare_property: read-only properties, and such of Protobuf and "
            "FlatBuffers, are not served",
        )
        return Status.UNIMPLEMENTED
    declared = _declared.setdefault(context.root, {})
    if name in declared:
        return Status.BAD_ARGUMENT
    if len(declared) >= MAX_DECLARED:
        return Status.INTERNAL_FAILURE
    declared[name] = kind == 1
    return b""


def declared_as_string(root: Context, name: bytes) -> bool:
    """Whether the guest has declared that property as a string; it is bytes otherwise."""
    return _declared.get(root, {}).get(name, False)


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

        fields = _fields(arguments)
        if fields is None:
            return Status.BAD_ARGUMENT
        body = fields.get(1, b"")
        if not isinstance(context, StreamContext) or not isinstance(body, bytes):
            return Status.BAD_ARGUMENT
        return context.inject(stream_type, body, bool(fields.get(2, 0))) or b""

    return inject


def _upstream_hosts(context: Context, arguments: bytes) -> bytes | Status:
    """Higress: the hosts of the stream's cluster, as pairs of address and metrics."""
    hosts = context.upstream_hosts()
    return Status.NOT_FOUND if hosts is None else hosts


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
    (None, "declare_property"): _declare_property,
    (None, "set_envoy_filter_state"): _set_filter_state,
    (None, "sign"): _crypto("sign"),
    (None, "verify_signature"): _crypto("verify_signature"),
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
