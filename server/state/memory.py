"""State that is written in the configuration."""

from __future__ import annotations

from pydantic import Field

from anywasm.core.errors import StateStoreError
from anywasm.plugins.config.model import Model


class MemoryOptions(Model):
    """Options of the type `memory`."""

    data: dict[str, str] = Field(default_factory=dict)
    """What guests find, by key; text, sent as UTF-8."""
    key_prefix: str = ""
    """Put before each key that a guest asks for."""


class MemoryStateStore:
    """A state store for demos and tests. Thread-safe: it never changes."""

    #: See `anywasm.abi.host.StateStore`.
    waits = False

    def __init__(self, name: str, options: MemoryOptions) -> None:
        self._name = name
        self._prefix = options.key_prefix.encode()
        self._data: dict[bytes, bytes] | None = {
            key.encode(): value.encode() for key, value in options.data.items()
        }

    def get(self, key: bytes, timeout: float) -> bytes | None:
        """The value of `key`, or None; never waits.

        Raises:
            StateStoreError: When it is closed.
        """
        if self._data is None:
            raise StateStoreError(f"state store {self._name!r} is closed")
        return self._data.get(self._prefix + key)

    def close(self) -> None:
        """Forget the data."""
        self._data = None
