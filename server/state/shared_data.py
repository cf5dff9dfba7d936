"""What guests share, in Redis: for all workers and hosts that use the same server and prefix."""

from __future__ import annotations

import logging
import time

from anywasm.abi.enums import Status
from anywasm.abi.shared_data import KEY_COST
from anywasm.core.errors import StateStoreError
from anywasm.server.state.redis_link import RedisLink, Script

_log = logging.getLogger("anywasm.state")

_SET = Script("""
local key, value, cas, limit, cost = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local old = redis.call('HGET', KEYS[1], key)
if cas ~= 0 and old then
  local number = struct.unpack('>I4', old)
  if number ~= cas then return 1 end
end
local size = tonumber(redis.call('HGET', KEYS[2], 'size') or '0') + cost + #key + #value
if old then size = size - cost - #key - (#old - 4) end
if size > limit then return 2 end
local number = redis.call('HINCRBY', KEYS[2], 'cas', 1)
if number > 4294967295 then
  number = 1
  redis.call('HSET', KEYS[2], 'cas', 1)
end
redis.call('HSET', KEYS[1], key, struct.pack('>I4', number) .. value)
redis.call('HSET', KEYS[2], 'size', string.format('%.0f', size))
return 0
""")
_ANSWERS = (Status.OK, Status.CAS_MISMATCH, Status.INTERNAL_FAILURE)


class RedisSharedData:
    """A `SharedDataStore`. Compare-and-swap is one script, so that it is atomic for all who share.

    Under the prefix, of each `vm_id`, one hash has the values, each after its number in four bytes,
    and one the last number and the size of all. They stay when the last VM ends here: other hosts
    may have some.

    Args:
        link: The server; closed by its owner.
        prefix: Put before the keys.
        max_bytes: What one `vm_id` may store.
    """

    def __init__(self, link: RedisLink, prefix: str, max_bytes: int) -> None:
        self._link = link
        self._prefix = prefix
        self._max_bytes = max_bytes

    def _keys(self, vm_id: str) -> list[str]:
        # What is in braces decides where a cluster has it: both keys in one place.
        return [f"{self._prefix}{kind}:{{{vm_id}}}" for kind in ("data", "data-meta")]

    def get(self, vm_id: str, key: bytes, deadline: float) -> tuple[bytes, int] | Status | None:
        """See `SharedDataStore.get`."""
        name = self._keys(vm_id)[0]
        try:
            found = self._link.run(
                deadline - time.monotonic(), lambda ask: ask(b"HGET", name, key), again=True
            )
        except StateStoreError as error:
            _log.error("shared data: %s", error)
            return Status.INTERNAL_FAILURE
        return None if found is None else (found[4:], int.from_bytes(found[:4], "big"))

    def set(self, vm_id: str, key: bytes, value: bytes, cas: int, deadline: float) -> Status:
        """See `SharedDataStore.set`."""
        values = key, value, cas, self._max_bytes, KEY_COST
        left = deadline - time.monotonic()
        try:
            return _ANSWERS[self._link.script(left, _SET, self._keys(vm_id), *values)]
        except StateStoreError as error:
            _log.error("shared data: %s", error)
            return Status.INTERNAL_FAILURE

    def hold(self, vm_id: str) -> None:
        """Nothing to do: it is kept."""

    def release(self, vm_id: str) -> None:
        """Nothing to do: others may have VMs of that id."""
