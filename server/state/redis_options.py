"""Where a Redis or Valkey server is."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from anywasm.plugins.config.model import Model
from anywasm.plugins.config.units import Timeout

_SCHEMES = ("redis://", "rediss://", "unix://")


def _is_redis(url: str) -> str:
    if not url.startswith(_SCHEMES):
        raise ValueError(f"must start with one of {', '.join(_SCHEMES)}")
    return url


class RedisOptions(Model):
    """Options of the type `redis`."""

    url: Annotated[str, AfterValidator(_is_redis)] = Field(repr=False)
    """`redis://[[user]:password@]host[:port][/db]`, `rediss://` for TLS, `unix:///path`."""
    timeout: Timeout = 1.0
    """How long one read may take, connecting included."""
    key_prefix: str = ""
    """Put before each key that a guest asks for."""


class SharedRedisOptions(RedisOptions):
    """Options of a shared store in Redis."""

    key_prefix: str = "anywasm:"
    """Put before each key; hosts that share have the same."""
