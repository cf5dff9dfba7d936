"""State in Redis or Valkey."""

from __future__ import annotations

from anywasm.server.state.redis_link import Ask, RedisLink
from anywasm.server.state.redis_options import RedisOptions

#: The field of a hash in which Dapr, and Layotto with it, saves a value.
_HASH_FIELD = b"data"


class RedisStateStore:
    """Reads keys of a Redis server. Thread-safe; see `RedisLink`.

    A key may hold a string, or a hash as Dapr's and Layotto's state API writes it; of a hash the
    field `data` is the value.
    """

    def __init__(self, name: str, options: RedisOptions) -> None:
        self._link = RedisLink(f"state store {name!r}", options)
        self._prefix = options.key_prefix.encode()

    def get(self, key: bytes, timeout: float) -> bytes | None:
        """The value of `key`, or None where there is none.

        Args:
            key: Without the prefix of the store.
            timeout: Seconds for the answer, connecting included; the store's own timeout when that
                is less. A server that stops in the middle of an answer may take it twice.

        Raises:
            StateStoreError: When the server cannot be reached, refuses, or takes too long.
        """
        found = self._prefix + key

        def work(ask: Ask) -> bytes | None:
            value: bytes | None
            try:
                value = ask(b"GET", found)
            except self._link.errors.ResponseError as error:
                if not str(error).startswith("WRONGTYPE"):
                    raise
                value = ask(b"HGET", found, _HASH_FIELD)
            return value

        return self._link.run(timeout, work, again=True)

    def close(self) -> None:
        """Close the connections; one that is in use, once its answer is there."""
        self._link.close()
