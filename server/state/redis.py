"""State in Redis or Valkey."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anywasm.core.errors import StateStoreError
from anywasm.server.state.redis_link import Ask, RedisLink
from anywasm.server.state.redis_options import RedisOptions

if TYPE_CHECKING:
    from anywasm.server.state.redis_soon import RedisSoon

#: Takes a value, or the error in its place.
Tell = Callable[[bytes | Exception | None], None]

#: The field of a hash in which Dapr, and Layotto with it, saves a value.
_HASH_FIELD = b"data"


class RedisStateStore:
    """Reads keys of a Redis server. Thread-safe; see `RedisLink`.

    A key may hold a string, or a hash as Dapr's and Layotto's state API writes it; of a hash the
    field `data` is the value.
    """

    #: As `SoonStateStore`; None where redis-py has to read the answers.
    get_soon: Callable[[bytes, float, Tell], None] | None = None

    def __init__(self, name: str, options: RedisOptions) -> None:
        self._link = RedisLink(f"state store {name!r}", options)
        self._prefix = options.key_prefix.encode()
        self._soon: RedisSoon | None = None
        if self._link.hands_over:
            from anywasm.server.state.redis_soon import RedisSoon

            self._soon = RedisSoon(self._link)
            self.get_soon = self._get_soon

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

    def _get_soon(self, key: bytes, timeout: float, tell: Tell) -> None:
        soon, link = self._soon, self._link
        assert soon is not None
        found, began = self._prefix + key, time.monotonic()

        def take(answer: Any) -> None:
            if not isinstance(answer, Exception):
                tell(answer)
            elif isinstance(answer, link.errors.ResponseError) and str(answer).startswith(
                "WRONGTYPE"
            ):
                left = timeout - (time.monotonic() - began)
                soon.ask(left, give, b"HGET", found, _HASH_FIELD)
            else:
                give(answer)

        def give(answer: Any) -> None:
            known = not isinstance(answer, Exception) or isinstance(answer, StateStoreError)
            tell(answer if known else link.translate(answer))

        soon.ask(timeout, take, b"GET", found)

    def close(self) -> None:
        """Close the connections; one that a thread uses, once its answer is there."""
        self._link.close()
        if self._soon is not None:
            self._soon.close()
