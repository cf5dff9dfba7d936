"""State stores: what guests read with `proxy_get_state`."""

from anywasm.server.state.hookspecs import RegisterStateStore, StateStoreSpecs
from anywasm.server.state.memory import MemoryStateStore
from anywasm.server.state.redis import RedisStateStore
from anywasm.server.state.registry import known_state_store_types, open_state_store

__all__ = [
    "MemoryStateStore",
    "RedisStateStore",
    "RegisterStateStore",
    "StateStoreSpecs",
    "known_state_store_types",
    "open_state_store",
]
