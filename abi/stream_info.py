"""What is known about a stream beside its headers; whoever drives the stream fills it in."""

from __future__ import annotations

#: An address and a port.
Endpoint = tuple[str, int]


class StreamInfo:
    """The facts behind the stream's properties. Sizes in bytes, times in nanoseconds.

    Attributes:
        start_time: When the request began, since the epoch.
        protocol: `HTTP/1.1` or `HTTP/1.0`.
        duration: How long the whole exchange took; None until it is over.
        request_size: Bytes of the request body that have come.
        response_size: Bytes of the response body that have gone.
        source: The client.
        destination: The address that the client connected to.
        connection_id: The number of the client's connection.
        tls_version: Of the client's connection; None without TLS.
        server_name: That the client asked for in TLS.
        upstream: The upstream host, once one is chosen.
        upstream_local: Our end of the connection to it.
        response_code: The status sent, or about to be.
        response_code_details: Why that one, in Envoy's words.
        response_flags: Envoy's flags, as bits.
        route_name: The route that was matched.
        cluster_name: The cluster that it leads to.
        virtual_host_name: The virtual host that it belongs to.
        node_id: The name of this host.
        filter_state: What guests have set (`proxy_set_property`), by name.
    """

    # Defaults of the class: one is made per stream, and most of it stays as it is.
    start_time = 0
    protocol = "HTTP/1.1"
    duration: int | None = None
    request_size = 0
    response_size = 0
    source: Endpoint | None = None
    destination: Endpoint | None = None
    connection_id = 0
    tls_version: str | None = None
    server_name = ""
    upstream: Endpoint | None = None
    upstream_local: Endpoint | None = None
    response_code: int | None = None
    response_code_details: str | None = None
    response_flags = 0
    route_name: str | None = None
    cluster_name: str | None = None
    virtual_host_name: str | None = None
    node_id: str | None = None

    def __init__(self) -> None:
        self.filter_state: dict[bytes, bytes] = {}
