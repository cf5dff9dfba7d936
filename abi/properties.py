"""Properties: what guests ask by path (`anywasm.abi.property_paths`), and what they set.

The usual of both has an equal in C (`_properties.h`).
"""

from __future__ import annotations

from anywasm.abi.context import Context, StreamContext
from anywasm.abi.enums import Status
from anywasm.abi.property_paths import PropertyKind, find_property

#: The longest path that is looked at.
MAX_PATH = 4096
#: Values that guests may set for one stream, and the bytes of all of them.
MAX_STATE = 1024
MAX_STATE_BYTES = 1024 * 1024

_WASM = b"wasm."


def get_property(context: Context, path: bytes) -> bytes | Status:
    """The value at `path`, serialized; NOT_FOUND where there is none."""
    if len(path) > MAX_PATH:
        return Status.NOT_FOUND
    resolve, kind, _ = find_property(path)
    if not isinstance(context, StreamContext) and kind is not PropertyKind.PLUGIN:
        # Where nothing is asked for, that is said everywhere.
        return Status.NOT_FOUND if path.removesuffix(b"\0") else Status.SERIALIZATION_FAILURE
    value = resolve(context)
    return Status.NOT_FOUND if value is None else value


def set_property(context: Context, path: bytes, value: bytes) -> Status | None:
    """Keep a value for the stream, where every later filter finds it.

    Envoy stores it as filter state under a `wasm.` prefix, whole path and all: a path of several
    segments is kept but cannot be read back. INTERNAL_FAILURE past the limits.
    """
    if not isinstance(context, StreamContext) or len(path) > MAX_PATH:
        return Status.NOT_FOUND
    state = context.info.filter_state
    name = _WASM + path
    held = sum(map(len, state.values())) - len(state.get(name, b""))
    if held + len(value) > MAX_STATE_BYTES or (len(state) >= MAX_STATE and name not in state):
        return Status.INTERNAL_FAILURE
    state[name] = value
    return None
