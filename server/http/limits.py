"""How much a client may ask of a connection, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from anywasm.core.errors import ConfigError


@dataclass(frozen=True)
class HttpLimits:
    """Bounds of one listener's connections. Sizes are bytes, times seconds.

    Attributes:
        max_header_bytes: Request line, names and values of a request's headers (Envoy's default,
            60 KiB), and again of its trailers; past it 431.
        max_headers: Number of headers (Envoy's default, 100); past it 431.
        max_target_bytes: Length of the request target; past it 414.
        max_body_bytes: What the whole-body helper collects; past it 413. A streaming handler
            bounds its body itself, with `pause_reading`.
        max_pipelined: Parsed events of later requests that wait before reading stops.
        idle_timeout: An idle keep-alive connection is closed without a word. Envoy waits an hour
            behind its own load balancer; facing clients directly, 60 s lets browsers and
            connection pools reuse a connection but not hoard file descriptors.
        header_timeout: From the first byte of a request to the end of its headers; past it 408.
        body_timeout: Between two reads of a body that the handler is waiting for; past it 408,
            or a cut where the response has started.
        write_timeout: Without any progress of a client that should be reading; past it a cut.
        linger_timeout: How long input is still discarded after an early final response, so that
            the client gets to read it before a TCP reset.
        high_water: Unsent response bytes that make the exchange unwritable.
        low_water: Unsent response bytes at which it becomes writable again.
    """

    max_header_bytes: int = 60 * 1024
    max_headers: int = 100
    max_target_bytes: int = 8 * 1024
    max_body_bytes: int = 1024 * 1024
    max_pipelined: int = 16
    idle_timeout: float = 60.0
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    write_timeout: float = 30.0
    linger_timeout: float = 2.0
    high_water: int = 256 * 1024
    low_water: int = 64 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise ConfigError(f"HTTP limit {field.name!r} must be greater than zero")
        if self.low_water > self.high_water:
            raise ConfigError("HTTP limit 'low_water' must not be above 'high_water'")

    @property
    def sweep_interval(self) -> float:
        """Seconds between two looks at all connections: a quarter of the least timeout, up to 1."""
        least = min(
            self.idle_timeout,
            self.header_timeout,
            self.body_timeout,
            self.write_timeout,
            self.linger_timeout,
        )
        return min(1.0, least / 4)
