"""Queues of guests in Redis: for all workers and hosts that use the same server and prefix."""

from __future__ import annotations

import logging
import threading
import time
import uuid
import zlib
from typing import Any

from anywasm.abi.enums import Status
from anywasm.abi.shared_queue import MAX_NAME, MAX_QUEUES
from anywasm.abi.shared_state import Notify
from anywasm.core.errors import StateStoreError
from anywasm.core.threads import patience
from anywasm.server.state.redis_link import RedisLink, Script

_log = logging.getLogger("anywasm.state")

#: Seconds between two attempts to listen to a server that is away: doubled up to the longest.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
#: Seconds that listening waits for news before it looks whether it is to end.
_TURN = 0.5
_WAIT = 5.0

# Tells the last owner that listens of a new item; those that do not listen any more are dropped.
# With nobody left the item is counted, for the next who registers.
_TELL = """
local function tell(base, token)
  while true do
    local owner = redis.call('LINDEX', base .. 'owners:' .. token, -1)
    if not owner then redis.call('HINCRBY', base .. 'untold', token, 1) return end
    if redis.call('PUBLISH', base .. 'ready:' .. owner, token) > 0 then return end
    redis.call('RPOP', base .. 'owners:' .. token)
  end
end
"""
_REGISTER = Script("""
local base, id, token, owner, most = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local known = redis.call('HGET', base .. 'tokens', id)
if known then
  token = known
else
  if redis.call('HLEN', base .. 'tokens') >= most then return {-1, 0} end
  while redis.call('HSETNX', base .. 'names', token, id) == 0 do
    token = string.format('%.0f', tonumber(token) % 4294967295 + 1)
  end
  redis.call('HSET', base .. 'tokens', id, token)
end
redis.call('LREM', base .. 'owners:' .. token, 0, owner)
redis.call('RPUSH', base .. 'owners:' .. token, owner)
local untold = tonumber(redis.call('HGET', base .. 'untold', token) or '0')
redis.call('HDEL', base .. 'untold', token)
return {tonumber(token), untold}
""")
_ENQUEUE = Script(
    _TELL
    + """
local base, token, item = KEYS[1], ARGV[1], ARGV[2]
if redis.call('HEXISTS', base .. 'names', token) == 0 then return 1 end
local items = base .. 'items:' .. token
local size = tonumber(redis.call('HGET', base .. 'sizes', token) or '0') + #item
if redis.call('LLEN', items) >= tonumber(ARGV[3]) or size > tonumber(ARGV[4]) then return 2 end
redis.call('RPUSH', items, item)
redis.call('HSET', base .. 'sizes', token, string.format('%.0f', size))
tell(base, token)
return 0
"""
)
_DEQUEUE = Script("""
local base, token = KEYS[1], ARGV[1]
local item = redis.call('LPOP', base .. 'items:' .. token)
if item then
  redis.call('HINCRBY', base .. 'sizes', token, -#item)
  return item
end
return redis.call('HEXISTS', base .. 'names', token)
""")
_PASS_ON = Script(
    _TELL
    + """
redis.call('LREM', KEYS[1] .. 'owners:' .. ARGV[1], 0, ARGV[2])
tell(KEYS[1], ARGV[1])
return 0
"""
)
_ANSWERS = (Status.OK, Status.NOT_FOUND, Status.INTERNAL_FAILURE)


class RedisSharedQueues:
    """A `SharedQueueStore`: who registered last, in whichever process, is told of new items.

    When that process has gone, the one before is told; when nobody is there, the next to register
    hears of what came meanwhile. A queue's token follows from its name, so that it is the same
    after the server has lost everything; then the queues of living guests are made again.

    Args:
        link: The server; closed by its owner.
        prefix: Put before the keys.
        max_items: Items that one queue holds.
        max_bytes: Bytes that one queue holds.
    """

    def __init__(self, link: RedisLink, prefix: str, max_items: int, max_bytes: int) -> None:
        self._link = link
        self._keys = [f"{prefix}{{queues}}:"]
        self._limits = max_items, max_bytes
        self._owner = uuid.uuid4().hex
        self._lock = threading.Lock()
        #: Held while a queue is registered there, but not here yet.
        self._registering = threading.Lock()
        self._notify: dict[int, Notify] = {}
        self._ids: dict[int, bytes] = {}
        self._closed = threading.Event()
        #: Set once this process hears what is published, and has said so.
        self._listening = threading.Event()
        self._thread: threading.Thread | None = None

    def register(self, vm_id: str, name: bytes, notify: Notify, deadline: float) -> int | Status:
        """See `SharedQueueStore.register`."""
        if len(name) > MAX_NAME:
            return Status.INTERNAL_FAILURE
        key = _id(vm_id, name)
        with self._registering:
            answer = self._try(self._register, key, deadline)
            if isinstance(answer, Status):
                return answer
            token, untold = answer
            if token < 0:
                return Status.INTERNAL_FAILURE
            with self._lock:
                self._notify[token] = notify
                self._ids[token] = key
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._listen, name="anywasm-queues", daemon=True
                )
                self._thread.start()
        for _ in range(untold):
            notify(token)
        # Who listens only later would pass for the last to register, or for one who has gone.
        self._listening.wait(max(0.0, deadline - time.monotonic()))
        return int(token)

    def _register(self, key: bytes, deadline: float) -> Any:
        values = key, zlib.crc32(key) or 1, self._owner, MAX_QUEUES
        return self._link.script(deadline - time.monotonic(), _REGISTER, self._keys, *values)

    def forget(self, notify: Notify) -> None:
        """See `SharedQueueStore.forget`."""
        with self._lock:
            for token in [token for token, known in self._notify.items() if known == notify]:
                del self._notify[token], self._ids[token]

    def resolve(self, vm_id: str, name: bytes, deadline: float) -> int | Status | None:
        """See `SharedQueueStore.resolve`."""

        def ask(deadline: float) -> Any:
            command = b"HGET", self._keys[0] + "tokens", _id(vm_id, name)
            left = deadline - time.monotonic()
            return self._link.run(left, lambda ask: ask(*command), again=True)

        found = self._try(ask, deadline)
        return found if found is None or isinstance(found, Status) else int(found)

    def enqueue(self, token: int, item: bytes, deadline: float) -> Status:
        """See `SharedQueueStore.enqueue`."""

        def ask(deadline: float) -> Status:
            left = deadline - time.monotonic()
            return _ANSWERS[
                self._link.script(left, _ENQUEUE, self._keys, token, item, *self._limits)
            ]

        status: Status = self._try(ask, deadline)
        return status

    def dequeue(self, token: int, deadline: float) -> bytes | Status:
        """See `SharedQueueStore.dequeue`."""

        def ask(deadline: float) -> bytes | Status:
            left = deadline - time.monotonic()
            found = self._link.script(left, _DEQUEUE, self._keys, token)
            if isinstance(found, bytes):
                return found
            return Status.EMPTY if found else Status.NOT_FOUND

        item: bytes | Status = self._try(ask, deadline)
        return item

    def hold(self, vm_id: str) -> None:
        """Nothing to do: they are kept."""

    def release(self, vm_id: str) -> None:
        """Nothing to do: others may have VMs of that id."""

    def close(self) -> None:
        """Listen no more."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _try(self, action: Any, *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except StateStoreError as error:
            _log.error("shared queues: %s", error)
            return Status.INTERNAL_FAILURE

    # --- the thread that listens ---

    def _listen(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed.is_set():
            connection = self._link.connection(_WAIT)
            try:
                connection.connect()
                connection.send_command(b"SUBSCRIBE", f"{self._keys[0]}ready:{self._owner}")
                connection.read_response()
                self._announce()
                self._listening.set()
                pause = FIRST_PAUSE
                while not self._closed.is_set():
                    with patience:
                        published = connection.can_read(timeout=_TURN)
                    if published:
                        *_, token = connection.read_response()
                        self._tell(int(token))
            except (self._link.errors.RedisError, OSError, StateStoreError) as error:
                _log.warning("shared queues: not listening for %.1f s: %s", pause, error)
                self._closed.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            finally:
                connection.disconnect()

    def _announce(self) -> None:
        """Register all again: what was published while nobody listened has not arrived."""
        with self._lock:
            ids = dict(self._ids)
        for token, key in ids.items():
            _, untold = self._register(key, time.monotonic() + _WAIT)
            for _ in range(untold):
                self._tell(token)

    def _tell(self, token: int) -> None:
        notify = self._notify.get(token)
        if notify is None:
            with self._registering:
                notify = self._notify.get(token)
        if notify is not None:
            notify(token)
        else:
            self._link.script(_WAIT, _PASS_ON, self._keys, token, self._owner)


def _id(vm_id: str, name: bytes) -> bytes:
    return vm_id.encode(errors="surrogateescape") + b"\0" + name
