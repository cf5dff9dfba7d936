"""Upstreams: what routes and guests send requests to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from anywasm.plugins.config.address import EndpointAddress
from anywasm.plugins.config.file_path import FilePath
from anywasm.plugins.config.model import Model, Name, NotEmpty, Switch
from anywasm.plugins.config.units import Timeout

#: At most so many connections, or waiting requests, of one cluster.
Bound = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


class ClusterTlsConfig(Model):
    """TLS towards a cluster."""

    sni: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """Name that is asked for and must be in the certificate; by default the endpoint's host."""
    ca_file: FilePath | None = None
    """Certificates that are trusted, PEM; by default the system's."""
    insecure: Switch = False
    """Whether any certificate is taken, unverified."""


class ClusterConfig(Model):
    """Servers that answer the same requests. Used in turn."""

    name: Name
    """Unique; what routes, `proxy_http_call` and `proxy_grpc_call` name."""
    endpoints: Annotated[tuple[EndpointAddress, ...], NotEmpty]
    """`host:port`, `[ipv6]:port` or `unix:/path`, each."""
    connect_timeout: Timeout = 5.0
    """How long connecting may take, TLS included."""
    idle_timeout: Timeout = 60.0
    """Until an idle connection is closed."""
    tls: ClusterTlsConfig | None = None
    """TLS; by default plain text, `{}` verifies the certificate against the endpoint's host."""
    max_connections: Bound = 1024
    """Connections to all endpoints together."""
    max_pending: Bound = 1024
    """Requests that may wait for a connection; past it 503."""
