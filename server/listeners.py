"""Listeners, of their configuration."""

from __future__ import annotations

import ssl

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import LimitsConfig, ListenerConfig
from anywasm.plugins.config.listener import ListenerTlsConfig
from anywasm.server.http import HandlerFactory, HttpLimits, Listener


async def listen(config: ListenerConfig, factory: HandlerFactory) -> Listener:
    """Open a listener whose exchanges `factory` handles.

    Raises:
        ConfigError: When its address cannot be bound, or its certificate cannot be used.
    """
    address = config.address
    listener = Listener(
        factory,
        address.host if address.path is None else None,
        address.port,
        _http_limits(config.limits),
        path=None if address.path is None else str(address.path),
        ssl=None if config.tls is None else make_tls_context(config.name, config.tls),
    )
    try:
        await listener.start()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"listener {config.name!r} cannot listen on {address}: {reason}"
        ) from error
    return listener


def _http_limits(limits: LimitsConfig) -> HttpLimits:
    return HttpLimits(
        max_header_bytes=limits.max_header_bytes,
        max_headers=limits.max_headers,
        max_target_bytes=limits.max_target_bytes,
        max_body_bytes=limits.max_body_bytes,
        idle_timeout=limits.idle_timeout,
        header_timeout=limits.header_timeout,
        body_timeout=limits.body_timeout,
        write_timeout=limits.write_timeout,
    )


def make_tls_context(name: str, config: ListenerTlsConfig) -> ssl.SSLContext:
    """How the listener `name` speaks TLS.

    Raises:
        ConfigError: When its certificate, or that of its clients' authority, cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.cert_file, config.key_file)
        if config.client_ca_file is not None:
            context.load_verify_locations(config.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"listener {name!r}: the certificate cannot be used: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context
