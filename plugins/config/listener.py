"""One listener."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from anywasm.plugins.config.access_log import AccessLogConfig
from anywasm.plugins.config.address import ListenAddress
from anywasm.plugins.config.file_path import FilePath
from anywasm.plugins.config.model import CrossCheckError, Model, Name, NotEmpty, Switch
from anywasm.plugins.config.route import RouteConfig
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
    max_buffer_bytes: Size = 1024 * 1024
    """What a paused stream may buffer in each direction; past it 413, for a response 500."""
    stream_idle_timeout: Timeout = 300.0
    """How long neither side of a filtered stream may send; past it 408 or 504, or a cut."""


class ListenerTlsConfig(Model):
    """TLS towards clients."""

    cert_file: FilePath
    """The certificate and those that lead to its root, PEM."""
    key_file: FilePath
    """The private key, PEM."""
    client_ca_file: FilePath | None = None
    """Certificates, PEM, one of which must have signed the client's; by default none is asked."""


class ListenerConfig(Model):
    """An address: of functions, or of a chain of filters with routes behind it."""

    name: Name
    """Unique; in messages, metrics and the management API."""
    address: ListenAddress
    """`host:port`, `[ipv6]:port` or `unix:/path`; port 0 lets the system choose."""
    plugins: Annotated[tuple[Name, ...], NotEmpty] | None = None
    """Functions served here, by plugin name; by default all plugins that are not filters."""
    filters: tuple[Name, ...] | None = None
    """Filters that requests pass in this order, by plugin name; responses the other way round."""
    routes: tuple[RouteConfig, ...] = ()
    """What is behind the filters; the first that fits is taken, none: 404."""
    virtual_host: Name = "default"
    """What guests read as `xds.virtual_host_name`."""
    tls: ListenerTlsConfig | None = None
    """TLS; by default plain text."""
    access_log: AccessLogConfig | None = None
    """A line for each request; by default none, `{}` writes Envoy's to the standard output."""
    generate_request_id: Switch = True
    """Whether filtered requests get an `x-request-id` when they bring none."""
    use_remote_address: Switch = True
    """Whether the client's address is appended to `x-forwarded-for`."""
    upgrade: tuple[Name, ...] = ()
    """Protocols that clients may switch to through a route, such as `websocket`."""
    limits: LimitsConfig = LimitsConfig()
    """What one client may ask for."""

    @property
    def is_filter_listener(self) -> bool:
        """Whether requests pass filters and routes here, and are not sent to functions by `id`."""
        return bool(self.routes) or self.filters is not None

    @model_validator(mode="after")
    def _one_profile(self) -> ListenerConfig:
        if self.plugins is not None and self.is_filter_listener:
            other = "routes" if self.routes else "filters"
            message = (
                f"functions (plugins) and {other} exclude each other; "
                f"move one of them to a listener of its own"
            )
            raise CrossCheckError([(("plugins",), message)])
        return self
