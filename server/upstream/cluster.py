"""Where requests of one name go, and how many at a time."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Final, TypeAlias

from anywasm.core.errors import ConfigError

#: Host and port, or the path of a Unix socket.
Endpoint: TypeAlias = "tuple[str, int] | str"

_POSITIVE: Final = (
    "connect_timeout",
    "idle_timeout",
    "max_connections",
    "max_pending",
    "max_header_bytes",
    "max_headers",
    "high_water",
    "low_water",
)


@dataclass(frozen=True)
class TlsOptions:
    """How the upstream's certificate is judged: by default as strictly as a browser would.

    Attributes:
        server_name: The name sent as SNI and looked for in the certificate; by default the
            endpoint's host. A Unix socket needs one.
        ca_file: PEM file of the authorities to trust instead of the system's.
        insecure: Accept any certificate. For tests and closed networks.
    """

    server_name: str | None = None
    ca_file: str | None = None
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """Make the context that all connections of a cluster share.

        Raises:
            ConfigError: `ca_file` cannot be read or holds no certificate.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"CA file {self.ca_file!r} cannot be used: {error}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        return context


@dataclass(frozen=True)
class Cluster:
    """A named upstream. Sizes are bytes, times seconds.

    Attributes:
        name: What guests and routes call it.
        endpoints: Hosts and ports, used in turn; one that cannot be reached is left out for a
            while.
        path: A Unix socket instead of endpoints.
        tls: Speak TLS to the upstream.
        connect_timeout: For one endpoint, name lookup and TLS handshake included (Envoy's
            default).
        idle_timeout: An unused connection is closed after this. Envoy keeps it for an hour, but
            common servers drop theirs after 5 to 75 s; what is kept longer mostly adds to the
            requests that meet a connection just being closed, and reconnecting is cheap.
        max_connections: Open at once, connecting ones included (Envoy's default).
        max_pending: Requests that wait for a connection; more fail at once with `overflow`
            (Envoy's default).
        max_requests_per_connection: After so many requests a connection is not used again; None
            for no bound.
        max_header_bytes: Names and values of a response's headers, and again of its trailers
            (Envoy's default, 60 KiB).
        max_headers: Number of headers (Envoy's default).
        high_water: Unsent request bytes that make a stream unwritable.
        low_water: Unsent request bytes at which it becomes writable again.

    Raises:
        ConfigError: A value makes no sense.
    """

    name: str
    endpoints: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    tls: TlsOptions | None = None
    connect_timeout: float = 5.0
    idle_timeout: float = 60.0
    max_connections: int = 1024
    max_pending: int = 1024
    max_requests_per_connection: int | None = None
    max_header_bytes: int = 60 * 1024
    max_headers: int = 100
    high_water: int = 256 * 1024
    low_water: int = 64 * 1024

    def __post_init__(self) -> None:
        place = f"upstream cluster {self.name!r}"
        if bool(self.endpoints) == (self.path is not None):
            raise ConfigError(f"{place} needs either endpoints or a Unix socket path")
        for field in _POSITIVE:
            if getattr(self, field) <= 0:
                raise ConfigError(f"{place}: {field!r} must be greater than zero")
        if self.max_requests_per_connection is not None and self.max_requests_per_connection < 1:
            raise ConfigError(f"{place}: 'max_requests_per_connection' must be greater than zero")
        if self.low_water > self.high_water:
            raise ConfigError(f"{place}: 'low_water' must not be above 'high_water'")
        if self.path is not None and self.tls is not None and self.tls.server_name is None:
            raise ConfigError(f"{place}: TLS over a Unix socket needs 'server_name'")

    @property
    def addresses(self) -> tuple[Endpoint, ...]:
        """The endpoints, or the one path."""
        return self.endpoints if self.path is None else (self.path,)
