"""One listener."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anywasm.plugins.config.address import ListenAddress
from anywasm.plugins.config.model import Model, Name, NotEmpty
from anywasm.plugins.config.units import Size, Timeout


class LimitsConfig(Model):
    """What one client may ask for."""

    max_header_bytes: Size = 60 * 1024
    """Request line and headers together; past it 431."""
    max_headers: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 100
    """Number of headers; past it 431."""
    max_target_bytes: Size = 8 * 1024
    """Length of the request target; past it 414."""
    max_body_bytes: Size = 1024 * 1024
    """Length of a request's body; past it 413."""
    idle_timeout: Timeout = 60.0
    """Until an idle connection is closed."""
    header_timeout: Timeout = 10.0
    """From the first byte of a request to the end of its headers; past it 408."""
    body_timeout: Timeout = 30.0
    """Between two parts of a body; past it 408."""
    write_timeout: Timeout = 30.0
    """How long a client may not read; past it the connection is cut."""


class ListenerConfig(Model):
    """An address at which plugins answer, routed by the request header `id`."""

    name: Name
    """Unique; in messages, metrics and the management API."""
    address: ListenAddress
    """`host:port`, `[ipv6]:port` or `unix:/path`; port 0 lets the system choose."""
    plugins: Annotated[tuple[Name, ...], NotEmpty] | None = None
    """Names of the plugins served here; by default all."""
    limits: LimitsConfig = LimitsConfig()
    """What one client may ask for."""
